"""What is measured appears at once, by the browser's own clock, and the desk stays quick meanwhile.

Ten times what is aimed at is allowed here: others may use the machine, too. ``python tests/benchmarks/desk.py`` runs
this file on a quiet one, and writes the numbers down.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from tests.browser.conftest import SHOWN
from tests.browser.desk import CLOCK, heap_megabytes, kept_on_screen, press_at_random, quantile, settle
from tests.browser.test_desk_speed import GENEROUS, NETWORKS, RECORDED, note

MEASURED = """() => {
  const desk = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden) .fl-desk");
  const gauge = desk.querySelector(".fl-desk-verdict");
  window.measuredClock = { "as cut": [], repaired: [] };
  let released = null, turn = 0;
  const kinds = { "as cut": ["as cut", "repaired", "unpruned"], repaired: ["repaired", "unpruned"] };
  const look = (mine, left) => {
    if (mine !== turn || !left.length) return;
    const there = left.filter((kind) => kinds[kind].includes(gauge.dataset.kind));
    for (const kind of there) {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => mine === turn && window.measuredClock[kind].push(performance.now() - released);
      port2.postMessage(0);
    }
    requestAnimationFrame(() => look(mine, left.filter((kind) => !there.includes(kind))));
  };
  desk.addEventListener("pointerup", (event) => {
    released = event.timeStamp;
    turn += 1;
    const mine = turn;
    requestAnimationFrame(() => look(mine, Object.keys(kinds)));
  }, { capture: true });
}"""
DATA = {"resnet20-fashion": "fashion_mnist", "yolov5n-trees": "trees"}
MAKE = """import torch, time, fpgmlab as fl
from tests.allocation.made import curves_of, rising
task = fl.tasks.{task}()
model = fl.models.load("{name}")
graph = fl.trace(model, task.example_input)
curves = curves_of(graph, rising(graph, 0), "{metric}")"""
OPEN = "editor = fl.widgets.PlanEditor(graph, curves, task, multiple=1); editor"
BARE = """def forward(plan, count):
    small = fl.prune(graph, plan).eval()
    inputs = torch.stack([task.val[i][0] for i in range(min(count, len(task.val)))])
    if inputs.dtype == torch.uint8:
        inputs = inputs.float() / 255
    seconds = []
    with torch.no_grad():
        for _ in range(7):
            begun = time.perf_counter()
            small(inputs)
            seconds.append(time.perf_counter() - begun)
    return 1000 * sorted(seconds)[3]
editor.wait()
print(forward(editor.plan, 256))"""
ALL = """import time
one = fl.widgets.PlanEditor(graph, curves, task, multiple=1, measure="as cut")
one.wait()
kept = list(editor.kept)
begun = time.perf_counter()
one.kept = kept
one.wait()
print(time.perf_counter() - begun)
one.close()"""
# Milliseconds: as cut, repaired.
AIMS = {"resnet20-fashion": (200, 1500), "yolov5n-trees": (1500, 600_000)}
RELEASES = [("resnet20-fashion", 40), ("yolov5n-trees", 12)]
if not RECORDED:
    RELEASES = [("resnet20-fashion", 3)]


@pytest.mark.parametrize(("name", "releases"), RELEASES)
def test_what_is_measured_appears_at_once(open_notebook: Callable, ask: Callable, name: str, releases: int):
    metric = "accuracy" if name == "resnet20-fashion" else "change"
    cells = [MAKE.format(task=DATA[name], name=name, metric=metric), OPEN, "print(len(graph))"]
    page = open_notebook(cells, height=1600, seconds=120)
    page.locator(f"{SHOWN} .fl-desk .fl-desk-bar").first.wait_for()
    settle(page)
    ask(page, "editor.wait()", seconds=300)
    page.evaluate(CLOCK)
    page.evaluate(MEASURED)
    rests = drag_and_wait(page, releases, AIMS[name][1] if name == "resnet20-fashion" else 4000)
    clock = page.evaluate("() => window.measuredClock")
    moves = page.evaluate("() => window.deskClock")
    bare = float(ask(page, BARE, seconds=400)) if name == "resnet20-fashion" else None
    found = {
        "releases": releases,
        "release_to_as_cut_ms": spread(clock["as cut"]),
        "release_to_repaired_ms": spread(clock["repaired"]) if len(clock["repaired"]) == releases else None,
        "moves_while_measuring": len(moves["painted"]),
        "received_to_paint_ms": spread(moves["painted"]),
    }
    if bare is not None:
        found |= {"bare_forward_ms": bare, "as_cut_over_bare": found["release_to_as_cut_ms"]["p95"] / bare}
        found |= {"all_pictures_s": float(ask(page, ALL, seconds=300))}
    note(f"{name}, measured", found)
    assert len(clock["as cut"]) == releases
    assert rests == releases
    assert found["release_to_as_cut_ms"]["p95"] < GENEROUS * AIMS[name][0]
    assert found["received_to_paint_ms"]["p95"] < GENEROUS * NETWORKS["resnet20-fashion"][3]
    if name == "resnet20-fashion":
        assert len(clock["repaired"]) == releases
        assert found["release_to_repaired_ms"]["p95"] < GENEROUS * AIMS[name][1]


def drag_and_wait(page: object, releases: int, patience: float, seed: int = 0) -> int:
    """Drag a bar after the other somewhere else; wait each time for what is measured, and a moment."""
    draw, rests = random.Random(seed), 0
    bars = page.locator(f"{SHOWN} .fl-desk-slot:not(.fl-desk-protected) .fl-desk-bar")
    kind = "repaired" if patience < 2000 else "as cut"
    for number in range(releases):
        bar = bars.nth(draw.randrange(bars.count()))
        bar.scroll_into_view_if_needed()
        box = bar.bounding_box()
        x = box["x"] + box["width"] / 2
        page.mouse.move(x, box["y"] + 0.5 * box["height"])
        page.mouse.down()
        for _ in range(8):
            page.mouse.move(x, box["y"] + box["height"] * draw.uniform(0.1, 0.9))
        page.mouse.up()
        page.wait_for_function(
            "([kind, count]) => window.measuredClock[kind].length >= count", arg=[kind, number + 1], timeout=60_000
        )
        page.wait_for_timeout(draw.uniform(0, 300))
        rests += 1
    return rests


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the 95th percentile."""
    return {"median": quantile(values, 0.5), "p95": quantile(values, 0.95)}


def test_a_thousand_edits_take_no_memory(open_notebook: Callable, ask: Callable):
    """Edits at random with measuring on: none is lost, none shows another plan's number."""
    edits = 1000 if RECORDED else 120
    cells = [MAKE.format(task="fashion_mnist", name="resnet20-fashion", metric="accuracy"), OPEN, "print(len(graph))"]
    page = open_notebook(cells, height=1600, seconds=120)
    page.locator(f"{SHOWN} .fl-desk .fl-desk-bar").first.wait_for()
    settle(page)
    ask(page, WATCH, seconds=60)
    press_at_random(page, 60, seed=1)
    settle(page)
    before = json.loads(ask(page, MEMORY, seconds=120)) | {"page": heap_megabytes(page)}
    press_at_random(page, edits)
    settle(page)
    kept = kept_on_screen(page)
    after = json.loads(ask(page, MEMORY, seconds=120)) | {"page": heap_megabytes(page)}
    found = {
        "edits": edits,
        "kernel_mb_more": after["kernel"] - before["kernel"],
        "page_mb_more": after["page"] - before["page"],
        "of_another_plan": after["wrong"],
    }
    note("edits with measuring on", found)
    assert json.loads(ask(page, "print(list(editor.kept))")) == kept
    assert after["wrong"] == 0
    assert found["kernel_mb_more"] < GENEROUS * 50
    assert found["page_mb_more"] < GENEROUS * 20


WATCH = """wrong = []
editor.observe(lambda change: change["new"]["kept"] == ",".join(map(str, editor.kept)) or wrong.append(change), "live")
"""
MEMORY = """import json
editor.wait()
with open("/proc/self/smaps_rollup") as lines:
    private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
print(json.dumps({"kernel": private / 1024, "wrong": len(wrong)}))"""

"""Two plans side by side, in a page; and the small drawing of the network."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from playwright.sync_api import expect

import fpgmlab as fl
from fpgmlab.widgets.desk.payload import desk_payload
from tests.allocation.made import branches, curves_of, rising
from tests.browser.bridge import Bridge

STATIC = Path(fl.__file__).parent / "widgets" / "desk" / "static"
NAME = "layer1.0.conv1"


@pytest.fixture(scope="module")
def editor() -> Iterator[fl.widgets.PlanEditor]:
    task = fl.tasks.fashion_mnist().subset(train=64, val=256)
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    curves = fl.sensitivity.shipped("resnet20-fashion", repaired=True)
    editor = fl.widgets.PlanEditor(graph, curves, task, multiple=1)
    editor.plan = fl.Plan.uniform(graph, curves.scores, 0.4, multiple=1)
    editor.snapshot("uniform")
    editor.plan = fl.Plan.from_ratios(graph, curves.scores, {NAME: 0.5})
    editor.snapshot("one group")
    editor.wait(60)
    yield editor
    editor.close()


@pytest.fixture(scope="module")
def bridge(browser: object, editor: fl.widgets.PlanEditor) -> Iterator[Bridge]:
    bridge = Bridge(browser, editor)
    yield bridge
    assert bridge.errors == []
    bridge.close()


def measured(bridge: Bridge, a: str, b: str) -> dict[str, float]:
    """Wait until both are measured on all pictures; return the difference as cut."""
    for _ in range(200):
        frame = bridge.editor.compare(a, b)
        bridge.pump(0.1)
        frame = frame[frame["metric"] == "accuracy"]
        if len(frame) == 2 and (frame["samples"] == 256).all():
            return frame[frame["network"] == "as cut"].iloc[0].to_dict()
        time.sleep(0.05)
    pytest.fail(f"not measured: {frame}")


def test_two_plans_are_held_against_each_other(bridge: Bridge, editor: fl.widgets.PlanEditor):
    page, panel = bridge.page, bridge.page.locator(".fl-desk-compare")
    assert not panel.is_visible()
    for name in ("original", "uniform", "one group"):  # the first gives way
        page.get_by_label(f"Compare {name}").check()
    expect(page.get_by_label("Compare original")).not_to_be_checked()
    row = measured(bridge, "uniform", "one group")
    bridge.pump()
    expect(panel.locator("h4").first).to_have_text("one group against uniform")
    cells = panel.locator("tr", has_text="accuracy, as cut").locator("td")
    expect(cells).to_contain_text([f"{100 * row['a']:.1f} %", f"{100 * row['b']:.1f} %",
                                   f"+{100 * row['difference']:.1f}".removesuffix(".0")])  # fmt: skip
    expect(panel.get_by_role("status")).to_contain_text("the same 256 pictures")
    names = panel.get_by_role("table", name="Channels by group").locator("th").all_inner_texts()
    kept = [editor._snapshot_plan(each).kept for each in editor.snapshots]
    parts = {name: abs(kept[0][name] - kept[1][name]) / editor._graph[name].channels for name in kept[0]}
    assert [parts[name] for name in names] == sorted((p for p in parts.values() if p), reverse=True)
    expect(page.locator(".fl-desk-bar-side")).to_have_count(2 * 12)
    mark = page.locator(".fl-desk-slot").nth(1).locator(".fl-desk-bar-side[data-side='1']")
    assert mark.evaluate("(mark) => mark.style.bottom") == "50%"


def test_the_plan_on_the_desk_is_compared_too_until_that_is_closed(bridge: Bridge):
    page = bridge.page
    page.get_by_label("Compare on the desk").check()
    bridge.pump()
    expect(page.locator(".fl-desk-compare h4").first).to_have_text("on the desk against one group")
    expect(page.locator(".fl-desk-bar-side")).to_have_count(12)  # the other is the bars themselves
    page.locator(".fl-desk-compare").get_by_role("button", name="Close").click()
    bridge.pump()
    expect(page.locator(".fl-desk-compare")).to_be_hidden()
    expect(page.locator(".fl-desk-bar-side")).to_have_count(0)
    expect(page.locator(".fl-desk-plans input:checked")).to_have_count(0)


def test_a_side_that_is_deleted_is_compared_no_more(bridge: Bridge, editor: fl.widgets.PlanEditor):
    editor.snapshot("soon gone")
    bridge.pump()
    for name in ("original", "soon gone"):
        bridge.page.get_by_label(f"Compare {name}").check()
    bridge.pump()
    bridge.page.get_by_role("button", name="Delete soon gone").click()
    bridge.pump()
    expect(bridge.page.locator(".fl-desk-compare")).to_be_hidden()
    assert editor.compared == {}


def test_what_was_measured_comes_before_what_is_predicted(bridge: Bridge):
    heads = bridge.page.locator(".fl-desk-plans thead th").all_inner_texts()
    assert heads == ["Plan", "MACs", "Parameters", "As cut", "Repaired", "Fine-tuned", "Predicted", ""]


# The drawing of the network -------------------------------------------------------------------------------------------


def test_a_bar_lights_up_who_makes_and_who_reads_its_channels(bridge: Bridge, editor: fl.widgets.PlanEditor):
    page = bridge.page
    group = editor._graph["layer2.0.conv2"]
    page.locator(".fl-desk-slot", has=page.get_by_role("slider", name=group.name, exact=True)).hover()
    lit = "(kind) => [...document.querySelectorAll(`.fl-desk-net-${kind}`)].map((box) => box.dataset.layer)"
    assert set(page.evaluate(lit, "makes")) == set(group.producers)
    assert set(page.evaluate(lit, "reads")) == set(group.consumers)
    page.locator(".fl-desk-head").hover()
    focus = editor._graph[page.locator(".fl-desk-detail h4").first.inner_text()]
    assert set(page.evaluate(lit, "makes")) == set(focus.producers)
    page.locator(".fl-desk-net-box[data-layer='layer3.1.conv1']").click()
    expect(page.locator(".fl-desk-detail h4").first).to_have_text("layer3.1.conv1")


@pytest.fixture(scope="module")
def layout(browser: object) -> Iterator[object]:
    """A page that has `netLayout`."""
    text = (STATIC / "net.js").read_text()
    page = browser.new_page()
    page.add_script_tag(
        content=re.sub(r"^import .*\n", "", text, flags=re.MULTILINE).replace("export function", "function")
    )
    yield page
    page.close()


def traced(name: str) -> fl.ChannelGraph:
    if name == "branches":
        return branches()
    if name == "yolov5n":
        return fl.trace(fl.models.build(name).eval(), torch.randn(1, 3, 64, 64))
    model = getattr(torchvision.models, name)(num_classes=10).eval()
    return fl.trace(model, torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("name", "most"), [("branches", 4), ("resnet50", 3), ("mobilenet_v2", 3), ("densenet121", 25), ("yolov5n", 6)]
)
def test_no_two_lines_of_a_lane_overlap(layout: object, name: str, most: int):
    graph = traced(name)
    groups = [{"producers": list(g.producers), "consumers": list(g.consumers)} for g in graph.values()]
    layers = desk_payload(graph, curves_of(graph, rising(graph, 0)), fl.score(graph))["layers"]
    found = layout.evaluate(f"netLayout({json.dumps(groups)}, {json.dumps(layers)})")
    assert found["columns"] == len(layers)
    assert found["lanes"] <= most
    for span, group in zip(found["spans"], graph.values(), strict=True):
        assert [layers[i] for i in span["makes"]] == list(group.producers)
        assert [layers[i] for i in span["reads"]] == list(group.consumers)
    for a in found["spans"]:
        for b in found["spans"]:
            apart = a["to"] < b["from"] or b["to"] < a["from"]
            assert a["g"] == b["g"] or a["lane"] != b["lane"] or apart

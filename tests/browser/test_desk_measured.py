"""What the desk shows of what the kernel measures, and of a latency table: without a kernel, by what it would send."""

from __future__ import annotations

import json
import re

import pytest

from fpgmlab.widgets.desk.editor import PlanEditor
from tests.allocation.made import chain, curves_of
from tests.browser.panels import UNSEEN
from tests.deployment.tables import by_stairs

# Opens the desk on a model that tells its views of changes, and notes what is sent; `again` draws a view anew.
OPEN = """async ({ esm, css, state }) => {
  document.body.replaceChildren();
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const heard = new Map(), values = state;
  window.sent = [];
  window.model = {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      (heard.get(`change:${name}`) ?? []).forEach((call) => call());
    },
    save_changes() {
      window.model.set("confirmed", { ...values.confirmed, revision: values.revision });
    },
    send: (message) => window.sent.push(message),
    on: (name, call) => heard.set(name, [...(heard.get(name) ?? []), call]),
    off: (name, call) => heard.set(name, (heard.get(name) ?? []).filter((other) => other !== call)),
  };
  window.again = () => {
    window.closing?.abort();
    window.closing = new AbortController();
    const el = document.createElement("div");
    el.style.width = "1100px";
    document.body.replaceChildren(el);
    widget.render({ model: window.model, el, signal: window.closing.signal });
  };
  window.again();
}"""
TOLD = "([name, value]) => window.model.set(name, value)"
LOOKS = "() => window.sent.filter(({ do: what }) => what === 'look').map(({ kept }) => kept.join(','))"


@pytest.fixture(scope="module")
def sent() -> dict:
    """Return what a desk sends: three groups that may be pruned, with steps of four channels."""
    graph = chain(12, 9, 8)
    drops = {name: {6: 0.1, 4: 0.2, 2: 0.4} for name in list(graph)[:3]}
    cut = {name: {6: 0.3, 4: 0.4, 2: 0.6} for name in drops}
    curves = curves_of(graph, drops, "accuracy", repaired=True)
    editor = PlanEditor(graph, curves, as_cut=curves_of(graph, cut, "accuracy"), table=by_stairs(graph))
    state = {name: value for name, value in editor.get_state().items() if name not in UNSEEN}
    found = {"esm": str(editor._esm), "css": str(editor._css), "state": json.loads(json.dumps(state))}
    editor.close()
    return found | {"state": found["state"] | {"live": live("12,9,8,3"), "glimpse": {}, "points": []}}


@pytest.fixture(scope="module")
def shown(browser: object) -> object:
    page = browser.new_page(viewport={"width": 1200, "height": 1500})
    page.set_content("<!doctype html><html><body data-jp-theme-light='true'></body></html>")
    yield page
    page.close()


@pytest.fixture
def page(shown: object, sent: dict) -> object:
    shown.evaluate(OPEN, sent)
    shown.locator(".fl-desk-bar").first.wait_for()
    return shown


def live(kept: str, **what: object) -> dict:
    base = {"networks": {}, "samples": {}, "of": 100, "doing": "", "words": "", "share": 0, "why": "", "timed": None}
    return {"kept": kept, "revision": 0, **base, **what}


def found(value: float, half: float | None = None) -> dict:
    ends = {"low": None, "high": None} if half is None else {"low": value - half, "high": value + half}
    return {"accuracy": {"value": value, "reference": 0.9, **ends}}


def tell(page: object, name: str, value: object) -> None:
    page.evaluate(TOLD, [name, value])


def bar(page: object, place: int = 0) -> object:
    return page.locator(".fl-desk-bar").nth(place)


def gauge(page: object, kind: str, *words: str) -> None:
    """Expect a kind of number in the metric's gauge, and words in it."""
    from playwright.sync_api import expect

    node = page.locator(".fl-desk-verdict")
    expect(node).to_have_attribute("data-kind", kind)
    for each in words:
        expect(node).to_contain_text(each)


def test_the_gauge_shows_what_was_measured_before_what_is_predicted(page: object):
    gauge(page, "unpruned", "90.0 %", "nothing is removed")
    bar(page).press("ArrowUp")
    gauge(page, "predicted", "≈ 8", "predicted, not measured", "each repaired")
    kept = "8,9,8,3"
    cut = {"networks": {"as cut": found(0.7)}, "samples": {"as cut": 20}}
    tell(page, "live", live(kept, **cut, doing="repair", words="Repairing: 1 of 3 layers", share=0.3))
    words = "interval not known yet · 20 of 100 pictures", "unpruned 90.0 % on the same pictures"
    gauge(page, "as cut", "70.0 %", *words, "Repairing: 1 of 3 layers")
    assert "8" not in page.locator(".fl-desk-verdict strong").inner_text()
    networks, samples = cut["networks"] | {"repaired": found(0.85, 0.012)}, {"as cut": 20, "repaired": 100}
    tell(page, "live", live(kept, networks=networks, samples=samples))
    gauge(page, "repaired", "85.0 %", "± 1.2", "83.8 to 86.2 % · all 100 pictures", "as cut 70.0 %")
    assert "predicted" not in page.locator(".fl-desk-verdict").inner_text()
    assert "The curves predicted 8" in page.locator(".fl-desk-verdict").get_attribute("title")
    # What the kernel told is of that plan, and of no other.
    bar(page).press("ArrowUp")
    gauge(page, "predicted")
    page.keyboard.press("Control+z")
    gauge(page, "repaired", "85.0 %")


def test_without_a_task_it_says_why_nothing_is_measured(page: object):
    bar(page).press("ArrowUp")
    tell(page, "live", live("8,9,8,3", why="Predicted only: no task was given."))
    gauge(page, "predicted", "unpruned 90.0 % · Predicted only: no task was given.")


def test_it_is_read_out_once_it_rests(page: object):
    from playwright.sync_api import expect

    page.wait_for_timeout(800)  # what it opens with is not
    bar(page).press("ArrowUp")
    told = {"networks": {"repaired": found(0.85, 0.012)}, "samples": {"repaired": 20}}
    status = page.locator(".fl-desk-gauges [role=status]")
    for doing in ("repaired", "repaired", ""):
        tell(page, "live", live("8,9,8,3", **told, doing=doing))
        assert "repaired, measured" not in status.inner_text()
    expect(status).to_contain_text("accuracy repaired, measured 85.0 % ± 1.2")


def test_a_drag_looks_at_one_plan_after_the_other(page: object):
    box = bar(page).bounding_box()
    x, bottom = box["x"] + box["width"] / 2, box["y"] + box["height"]
    page.mouse.move(x, bottom)
    page.mouse.down()
    for ratio in (0.35, 0.7, 0.34):
        page.mouse.move(x, bottom - ratio * box["height"])
        page.wait_for_timeout(60)
    assert page.evaluate(LOOKS) == ["8,9,8,3"]  # it has no answer yet
    page.mouse.move(x, bottom - 0.7 * box["height"])
    page.wait_for_timeout(60)
    glimpse = {"kept": "8,9,8,3", "networks": {"as cut": found(0.6)}, "samples": {"as cut": 10}, "of": 100}
    tell(page, "glimpse", glimpse)
    assert page.evaluate(LOOKS) == ["8,9,8,3"]  # it rests for as long as that took
    page.wait_for_function(f"() => ({LOOKS})().length === 2")
    assert page.evaluate(LOOKS) == ["8,9,8,3", "4,9,8,3"]
    gauge(page, "predicted")  # what came is of another plan
    tell(page, "glimpse", glimpse | {"kept": "4,9,8,3"})
    gauge(page, "as cut", "60.0 %", "10 of 100 pictures")
    page.mouse.up()
    page.wait_for_timeout(60)
    assert len(page.evaluate(LOOKS)) == 2  # once let go the kernel measures by itself
    tell(page, "live", live("4,9,8,3", why="no task was given"))
    page.mouse.down()
    page.mouse.move(x, bottom)
    page.wait_for_timeout(60)
    page.mouse.up()
    assert len(page.evaluate(LOOKS)) == 2


def test_bars_stand_on_either_curves_and_predictions_on_the_repaired_ones(page: object):
    from playwright.sync_api import expect

    bar(page).press("ArrowUp")
    words, legend = bar(page), page.locator(".fl-desk-bars-legend")
    expect(words).to_have_attribute("aria-valuetext", "33.3 %, 8 of 12 channels kept, drop 6.7 points")
    expect(legend).to_contain_text("each group alone, repaired")
    before = page.locator(".fl-desk-verdict strong").inner_text()
    page.get_by_label("Background").select_option("as cut")
    expect(words).to_have_attribute("aria-valuetext", "33.3 %, 8 of 12 channels kept, drop 20 points, as cut")
    expect(legend).to_contain_text("as cut; predictions keep to the repaired curves")
    expect(page.locator(".fl-desk-detail")).to_contain_text("points alone, as cut")
    assert page.locator(".fl-desk-verdict strong").inner_text() == before == "≈ 83.3 %"
    page.evaluate("() => window.again()")  # as when JupyterLab draws it anew
    expect(page.get_by_label("Background")).to_have_value("as cut")


def test_keys_go_from_step_to_step_and_what_is_wasted_is_told(page: object):
    from playwright.sync_api import expect

    first = bar(page)
    for key, kept in (("ArrowUp", 8), ("ArrowUp", 4), ("ArrowUp", 4), ("ArrowDown", 8), ("Alt+ArrowUp", 7)):
        first.press(key)
        expect(first).to_have_attribute("aria-valuetext", re_kept(kept))
    expect(first).to_have_attribute("aria-valuetext", re_kept(7, "wasted: 7 take as long as 8"))
    expect(first.locator(".fl-desk-bar-waste")).to_be_visible()
    expect(page.locator(".fl-desk-bars-says")).to_contain_text("wasted: 7 take as long as 8")
    first.press("Alt+ArrowDown")
    expect(first.locator(".fl-desk-bar-waste")).to_be_hidden()
    assert first.locator(".fl-desk-bar-stairs path").first.get_attribute("d").count("M") == 2  # at 4 and 8 of 12
    expect(page.locator(".fl-desk-detail")).to_contain_text("Keeps 4, 8 or 12: the ends of made up's steps.")


def re_kept(kept: int, words: str = "") -> re.Pattern:
    return re.compile(f"[, ]{kept} of 12 channels kept.*{words}")


def test_milliseconds_come_first_and_are_timed(page: object):
    from playwright.sync_api import expect

    first = page.locator(".fl-desk-gauges > .fl-gauge").first
    expect(first).to_contain_text("made up's table")
    expect(first).to_contain_text("not timed yet")
    bar(page).press("ArrowUp")
    timed = {"ms": 0.221, "low": 0.219, "high": 0.223, "runtime": "made up"}
    tell(page, "live", live("8,9,8,3", timed=timed))
    expect(first).to_contain_text("timed 0.221 ms ± 0.002")
    bar(page).press("ArrowUp")
    expect(first).to_contain_text("not timed yet")
    page.get_by_label("Cost the budget is of").select_option("milliseconds")
    page.get_by_label("Per cent to keep").fill("60")
    page.get_by_role("button", name="Fit").click()
    asked = page.evaluate("() => window.sent.at(-1)")
    assert asked == {"do": "budget", "method": "allocate", "kind": "latency", "share": 0.6}
    page.evaluate("() => window.again()")
    expect(page.get_by_label("Per cent to keep")).to_have_value("60")
    expect(page.get_by_label("Cost the budget is of")).to_have_value("latency")


def test_the_trade_off_fills_with_what_was_measured(page: object):
    from playwright.sync_api import expect

    points = [
        {"kept": "8,9,8,3", "macs": 9000, "latency": 9.0, "as cut": {"accuracy": 0.2}, "repaired": {"accuracy": 0.85}},
        {"kept": "4,9,8,3", "macs": 7000, "latency": None, "as cut": {"accuracy": 0.8}, "repaired": {}},
        {"kept": "4,4,8,3", "macs": 5000, "latency": 5.0, "as cut": {"accuracy": 0.3}, "repaired": {"accuracy": 0.8}},
    ]
    tell(page, "points", points)
    cloud, plot = page.locator(".fl-desk-cloud"), page.locator(".fl-desk-tradeoff svg")
    expect(cloud.locator(".fl-desk-cloud-repaired")).to_have_attribute("d", re_count("z", 2))
    expect(cloud.locator(".fl-desk-cloud-cut")).to_have_attribute("d", re_count("a", 2))  # others are off the scale
    page.get_by_label("Cost across the plot").select_option("milliseconds")
    expect(plot).to_have_attribute("aria-label", "Plans: milliseconds that remain against accuracy")
    expect(cloud.locator(".fl-desk-cloud-cut")).to_have_attribute("d", "")  # of one no milliseconds are known
    cloud.locator(".fl-desk-cloud-repaired").click(force=True, position=nearest(page))
    page.wait_for_timeout(100)
    assert page.evaluate("() => window.model.get('kept').join(',')") in {point["kept"] for point in points}


def re_count(letter: str, count: int) -> re.Pattern:
    return re.compile(f"^(?:[^{letter}]*{letter}){{{count}}}[^{letter}]*$")


def nearest(page: object) -> dict:
    """Return where in the path's box its first mark is."""
    return page.evaluate("""() => {
      const path = document.querySelector(".fl-desk-cloud-repaired"), box = path.getBBox();
      const [x, y] = path.getAttribute("d").match(/[\\d.]+/g).map(Number);
      return { x: x - box.x, y: y + 3 - box.y };
    }""")

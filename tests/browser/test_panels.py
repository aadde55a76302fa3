"""The panels in a real JupyterLab, by mouse and by keyboard; asserted on text and DOM."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import SHOWN

if TYPE_CHECKING:
    from playwright.sync_api import Locator

CELLS = [
    """import fpgmlab as fl
graph = fl.trace(fl.models.load("resnet20-fashion"), fl.tasks.fashion_mnist().example_input)""",
    'explorer = fl.widgets.FilterExplorer(graph, group="layer1.0.conv1"); explorer',
    "panel = fl.widgets.GammaPanel(graph); panel",
    """sweeper = fl.widgets.SweepPanel(
    graph, fl.score(graph), fl.tasks.fashion_mnist(), ratios=(0.3, 0.6), batch_size=16, max_samples=4000
); sweeper""",
    "print(explorer.selected)",
]
KEPT = "print(*[n for g, n in panel.plan.kept.items() if graph[g].protected is None])"


@pytest.fixture(scope="module")
def shown(open_notebook: Callable, ask: Callable) -> SimpleNamespace:
    page = open_notebook(CELLS)
    errors, foreign = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request", lambda r: None if re.match(r"(http|ws)://127\.0\.0\.1|data:|blob:", r.url) else foreign.append(r.url)
    )
    page.locator(".fl-explorer-tile").first.wait_for()
    from playwright.sync_api import expect

    return SimpleNamespace(page=page, expect=expect, errors=errors, foreign=foreign,
                           ask=lambda code: ask(page, code))  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh(shown: SimpleNamespace) -> None:
    shown.ask(
        'explorer.group, explorer.criterion, explorer.ratio, explorer.selected = "layer1.0.conv1", "fpgm", 0.3, None\n'
        "panel.ratio, panel.floor = 0.3, 0.0"
    )
    shown.page.mouse.move(0, 0)  # what the last test pointed at, this one does not
    shown.expect(shown.page.locator(".fl-explorer h4", has_text="No filter selected")).to_be_visible()


def point_at(shown: SimpleNamespace, where: object) -> None:
    """Hover until the details say so: JupyterLab may still be scrolling to the cell that ran."""
    title = shown.page.locator(".fl-explorer-details h4")
    for _ in range(10):
        where.hover(force=True)
        try:
            shown.expect(title).to_contain_text(" of layer", timeout=2000)
            return
        except AssertionError:
            shown.page.mouse.move(0, 0)
    pytest.fail(f"pointing at {where} names no filter")


def removed(shown: SimpleNamespace) -> list[int]:
    return sorted(int(text) for text in shown.page.locator(".fl-explorer-tile.fl-explorer-gone span").all_inner_texts())


@pytest.mark.parametrize(
    "view", [".fl-explorer-square", ".fl-explorer-map .fl-explorer-dot[role=option]", ".fl-explorer-tile"]
)
def test_hovering_names_a_filter_in_all_views(shown: SimpleNamespace, view: str):
    page, expect = shown.page, shown.expect
    point_at(shown, page.locator(view).nth(0))
    title = page.locator(".fl-explorer-details h4")
    expect(title).to_have_text(re.compile(r"^filter \d+ of layer1\.0\.conv1$"))
    number = re.search(r"\d+", title.inner_text())[0]
    expect(page.locator(".fl-explorer-tile.fl-explorer-current span")).to_have_text(number)
    expect(page.locator(".fl-explorer-dot.fl-explorer-current")).to_have_attribute("aria-label", f"filter {number}")
    expect(page.locator(".fl-explorer-tile.fl-explorer-near")).to_have_count(5)
    expect(page.locator(".fl-explorer-details tbody tr")).to_have_count(5)
    expect(page.locator(".fl-explorer-details")).to_contain_text("of 16 (1 goes first)")
    page.locator(".fl-explorer-summary").hover()
    expect(title).to_have_text("No filter selected")
    assert shown.ask("print(explorer.selected)") == "None"


@pytest.mark.parametrize("view", [".fl-explorer-square", ".fl-explorer-map svg.fl-explorer-view", ".fl-explorer-grid"])
def test_the_keyboard_selects_pins_and_clears(shown: SimpleNamespace, view: str):
    page, expect = shown.page, shown.expect
    page.locator(view).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    title, spoken = page.locator(".fl-explorer-details h4"), page.locator(".fl-explorer [aria-live]")
    expect(spoken).to_contain_text("of layer1.0.conv1")
    name = spoken.inner_text().split(",")[0]  # it is said at once, and drawn with the next picture
    expect(title).to_have_text(name)
    number = re.search(r"\d+", name)[0]
    expect(page.locator(".fl-explorer-tile[aria-selected=true] span")).to_have_text(number)
    page.keyboard.press("Enter")
    expect(page.locator(".fl-explorer-pinned")).to_have_text("pinned")
    assert shown.ask("print(explorer.selected)") == number
    page.locator(view).focus()
    page.keyboard.press("Escape")
    expect(title).to_have_text("No filter selected")
    assert shown.ask("print(explorer.selected)") == "None"


def test_the_words_do_not_move_the_pictures(shown: SimpleNamespace):
    tiles = shown.page.locator(".fl-explorer-grid")
    before = tiles.evaluate("e => e.offsetTop")
    point_at(shown, shown.page.locator(".fl-explorer-square"))
    assert tiles.evaluate("e => e.offsetTop") == before


def test_tab_goes_through_all_views(shown: SimpleNamespace):
    page = shown.page
    page.locator(".fl-explorer-square").focus()
    seen = []
    for _ in range(3):
        seen.append(page.evaluate("document.activeElement.getAttribute('aria-label')").split()[0])
        page.keyboard.press("Tab")
    assert seen == ["Distance", "Map", "Filters"]


def test_a_pinned_filter_stays_and_leads_to_its_neighbours(shown: SimpleNamespace):
    page, expect = shown.page, shown.expect
    page.locator(".fl-explorer-tile").nth(2).click()
    title = page.locator(".fl-explorer-details h4")
    name = title.inner_text()
    page.locator(".fl-explorer-tile").nth(9).hover()
    expect(title).to_have_text(name)
    nearest = page.locator(".fl-explorer .fl-link").first
    words = nearest.inner_text()
    nearest.click()
    expect(title).to_have_text(f"{words} of layer1.0.conv1")
    assert shown.ask("print('filter', explorer.selected); explorer.selected = None") == words
    point_at(shown, page.locator(".fl-explorer-tile").nth(9))  # nothing is pinned any more


def test_controls_and_kernel_move_the_picture(shown: SimpleNamespace):
    page, expect = shown.page, shown.expect
    shown.ask("explorer.ratio = 0.5")
    expect(page.locator(".fl-explorer-tile.fl-explorer-gone")).to_have_count(8)
    page.get_by_label("Channel group").select_option("layer3.0.conv1 (64)")
    expect(page.locator(".fl-explorer-tile")).to_have_count(64)
    page.get_by_label("Criterion").select_option("L1 norm")
    number = page.get_by_label("Ratio, as a number")
    number.fill("0.25")
    number.press("Enter")
    expect(page.locator(".fl-explorer-tile.fl-explorer-gone")).to_have_count(16)
    assert shown.ask("print(explorer.group, explorer.criterion, explorer.ratio)") == "layer3.0.conv1 l1 0.25"
    assert shown.ask("print(list(explorer.removed))") == str(removed(shown))
    slider = page.get_by_label("Ratio removed")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    expect(page.locator(".fl-explorer-tile.fl-explorer-gone")).to_have_count(22)
    assert shown.ask("print(list(explorer.removed))") == str(removed(shown))


def test_what_does_not_apply_is_said_and_the_picture_goes(shown: SimpleNamespace):
    page, expect = shown.page, shown.expect
    shown.ask('explorer.group = "fc"')
    expect(page.locator(".fl-explorer-notes")).to_contain_text("protected (it is the model's output)")
    shown.ask('explorer.criterion = "bn_gamma"')
    expect(page.get_by_role("alert")).to_contain_text("does not apply to group 'fc'")
    expect(page.locator(".fl-explorer-panels")).to_be_hidden()
    shown.ask('explorer.criterion = "fpgm"')
    expect(page.locator(".fl-explorer-tile")).to_have_count(10)
    expect(page.locator(".fl-explorer-panels")).to_be_visible()


def begin(shown: SimpleNamespace, code: str) -> Locator:
    """Start the last cell with some code that waits for the panel: what is done now must reach the kernel meanwhile."""
    cell = shown.page.locator(f"{SHOWN} .jp-CodeCell").last
    cell.locator(".jp-InputArea-editor .cm-content").click()
    shown.page.keyboard.press("Control+a")
    shown.page.keyboard.insert_text(code)
    shown.page.keyboard.press("Control+Enter")
    shown.expect(cell.locator(".jp-InputPrompt").first).to_contain_text("[*]")
    return cell


def test_the_gamma_panel_answers_while_a_cell_runs(shown: SimpleNamespace):
    cell = begin(shown, "import time\nold = panel.plan\nwhile panel.plan == old: time.sleep(0.1)\nprint('moved')")
    slider = shown.page.locator(".fl-gamma input[type=range]")
    slider.focus()
    slider.press("PageUp")
    shown.expect(cell.locator(".jp-OutputArea-output").last).to_have_text(re.compile("moved"), timeout=30_000)
    slider.press("Home")


def test_the_gamma_panel_moves_with_its_slider(shown: SimpleNamespace):
    page, expect = shown.page, shown.expect
    slider, words = page.locator(".fl-gamma input[type=range]"), page.locator(".fl-gamma-words")
    cliff = shown.ask("print(f'{panel.cliff:.3f}')")
    expect(words).to_contain_text(f"No layer is held at its floor. The cliff is at ratio {cliff}")
    slider.focus()
    for key in ("End", "PageDown", "ArrowLeft"):
        page.keyboard.press(key)
    expect(words).to_contain_text(f"Beyond the cliff (ratio {cliff})")
    expect(page.locator(".fl-gauges[aria-busy=false]")).to_be_visible()
    kept = [text.split()[0] for text in page.locator(".fl-gamma-layers .fl-gamma-count").all_inner_texts()]
    assert shown.ask(KEPT).split() == kept
    held = page.locator(".fl-gamma-floored th").all_inner_texts()
    assert held
    assert shown.ask("print(*panel.frame.group[panel.frame.at_floor])").split() == held
    macs = shown.ask("print(f'{graph.cost(panel.plan).macs / graph.cost().macs:.1%}')")
    expect(page.locator(".fl-gauge").nth(1)).to_contain_text(macs.replace("%", " % of"))
    floor = page.get_by_label("Floor of each layer")
    floor.fill("0.25")
    floor.press("Tab")
    expect(words).not_to_contain_text(f"(ratio {cliff})")
    expect(page.locator(".fl-gauges[aria-busy=false]")).to_be_visible()
    kept = [text.split()[0] for text in page.locator(".fl-gamma-layers .fl-gamma-count").all_inner_texts()]
    assert shown.ask(KEPT).split() == kept
    page.get_by_label("Logarithmic counts").check()
    expect(page.locator("svg.fl-gamma-histogram")).to_contain_text("channels (log)")


def samples(shown: SimpleNamespace) -> int:
    """Return how many samples the sweep has seen, once it has seen some."""
    status = shown.page.locator(".fl-sweep-status")
    shown.expect(status).to_contain_text(re.compile(r"[\d,]+ of 4,000 samples"), timeout=60_000)
    return int(re.search(r"([\d,]+) of 4,000", status.inner_text())[1].replace(",", ""))


def wait_for_more(shown: SimpleNamespace, before: int) -> None:
    for _ in range(300):
        if samples(shown) > before:
            return
        shown.page.wait_for_timeout(100)
    pytest.fail(f"no more than {before} samples: {shown.page.locator('.fl-sweep-status').inner_text()}")


def test_the_sweep_goes_on_while_cells_run_and_can_be_cancelled_and_resumed(shown: SimpleNamespace):
    page, expect = shown.page, shown.expect
    expect(page.locator(".fl-sweep-status")).to_have_text("Not started.")
    start = page.get_by_role("button", name="Start the sweep")
    start.focus()
    start.press("Enter")
    first = samples(shown)
    assert shown.ask("print(6 * 7, sweeper.state)") == "42 running"
    wait_for_more(shown, first)
    page.get_by_role("button", name="Cancel").click()
    panel = page.locator(".fl-sweep")
    expect(panel).to_have_attribute("data-state", "cancelled", timeout=30_000)
    seen = samples(shown)
    assert shown.ask("print(sweeper.state, sweeper.curves.frame.samples.max())") == f"cancelled {seen}"
    resume = page.get_by_role("button", name="Resume the sweep")
    resume.click()
    wait_for_more(shown, seen)
    cell = begin(shown, "import time\nwhile sweeper.state == 'running': time.sleep(0.1)\nprint('after', sweeper.state)")
    page.get_by_role("button", name="Cancel").click()
    expect(panel).to_have_attribute("data-state", "cancelled", timeout=30_000)
    expect(cell.locator(".jp-OutputArea-output").last).to_have_text(re.compile("after cancelled"))
    assert shown.ask("print(len(sweeper.curves.frame))") == str(3 * 12 * 3)


def test_the_curves_are_read_by_pointer_keyboard_and_as_a_table(shown: SimpleNamespace):
    page, expect = shown.page, shown.expect
    facts = (
        shown.ask(
            "row = sweeper.curves.frame.query(\"group == 'layer1.0.conv1' and metric == 'accuracy'\").iloc[1]\n"
            "print(f'{row.value:.1%}|{row.low:.1%} to {row.high:.1%}|{row.samples:,} samples|{row.kept} of 16')"
        )
        .replace("%", " %")
        .split("|")
    )
    expect(page.locator(".fl-sweep-multiple")).to_have_count(12)
    curves, tip = page.locator(".fl-sweep-multiples"), page.locator(".fl-sweep-tip")
    curves.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    for words in ("layer1.0.conv1", *facts):
        expect(tip).to_contain_text(words)
        expect(page.locator(".fl-sweep [aria-live]")).to_contain_text(words)
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.locator(".fl-sweep-multiple svg").nth(1).hover(position={"x": 70, "y": 50})
    expect(tip).to_contain_text("layer1.0.conv1")
    page.get_by_label("Metric shown").select_option("loss")
    page.locator(".fl-sweep-points summary").click()
    expect(page.locator(".fl-sweep-points tbody tr")).to_have_count(12 * 3)
    expect(page.locator(".fl-sweep-points thead")).to_contain_text("loss")
    loss = shown.ask("print(f'{sweeper.curves.base[\"loss\"]:.4g}')")
    expect(page.locator(".fl-sweep-points tbody tr").first).to_contain_text(loss)
    shown.ask("sweeper.close()")
    expect(page.locator(".fl-sweep")).to_have_count(0)


def test_nothing_failed_and_nothing_came_from_elsewhere(shown: SimpleNamespace):
    assert shown.errors == []
    assert shown.foreign == []

"""All panels in one page of JupyterLab: in one notebook, and in two, each looks as with its own style sheet only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import SHOWN
from tests.browser.panels import LOOKS, PANELS

CELLS = {
    "explorer": 'fl.widgets.FilterExplorer(graph, group="layer1.0.conv1")',
    "gammas": "fl.widgets.GammaPanel(graph, ratio=0.8)",
    "sweep": "fl.widgets.SweepPanel(graph, fl.score(graph), task, ratios=(0.5,))",
    "desk": 'fl.widgets.PlanEditor(graph, fl.sensitivity.shipped("resnet20-fashion"), task, measure=None)',
}
FIRST = """import fpgmlab as fl
task = fl.tasks.fashion_mnist().subset(train=8, val=64)
graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)"""
# Compares how the panels of a notebook look when all style sheets are on with how each looks when the others' are off.
COMPARE = """async (shown) => {
  const sheets = [...document.querySelectorAll("style[id^='fpgmlab.']")];
  const roots = [...document.querySelectorAll(`${shown} .fl-root`)], found = [], own = new Set();
  for (const root of roots) {
    // The desk has the explorer's rules as well, for its filters: the shortest that has a panel's rules is its own.
    const mine = sheets.filter((style) => style.textContent.includes(`\\n.${root.classList[1]} {`))
      .reduce((least, style) => (style.textContent.length < least.textContent.length ? style : least));
    own.add(mine);
    for (const style of sheets) style.sheet.disabled = style !== mine;
    await settled();
    const alone = looks(root);
    for (const style of sheets) style.sheet.disabled = false;
    await settled();
    found.push(...differences(alone, looks(root)).map((words) => `${root.classList[1]}: ${words}`));
  }
  return { panels: roots.length, sheets: own.size, found };
}"""


@pytest.mark.parametrize(("order", "theme"), [(PANELS, "Dark"), (PANELS[::-1], "Light")], ids=["Dark", "Light"])
def test_panels_of_one_page_look_as_with_their_own_sheet_only(
    open_notebook: Callable, order: tuple[str, ...], theme: str
):
    """The second time it is the page's second notebook: there are two panels of each kind then."""
    page = open_notebook([FIRST, *(CELLS[name] for name in order), "None"], height=1600)
    for root in (".fl-root.fl-explorer", ".fl-gamma", ".fl-sweep", ".fl-desk"):
        page.locator(f"{SHOWN} {root}").wait_for()
    page.evaluate(LOOKS)
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {theme}' }})")
    page.wait_for_selector(f"body[data-jp-theme-light={str(theme == 'Light').lower()}]", state="attached")
    result = page.evaluate(COMPARE, SHOWN)
    assert result["found"][:20] == []
    assert (result["panels"], result["sheets"]) == (4, 4)

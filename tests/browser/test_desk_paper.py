"""From the desk to paper in a real JupyterLab: the plan as code on the clipboard, a page that is loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from tests.browser.conftest import SAVE, go_to_lab
from tests.browser.desk import kept_on_screen, settle
from tests.browser.test_desk_session import CELLS

RELOADS = True  # the page

# What a page may do with the clipboard, as browsers differ in it.
REFUSED = """() => {
  Object.defineProperty(navigator, "clipboard", { configurable: true, value: undefined });
  document.execCommand = () => false;
}"""
TAKEN = """() => {
  const clipboard = { writeText: (text) => { window.copied = text; return Promise.resolve(); } };
  Object.defineProperty(navigator, "clipboard", { configurable: true, value: clipboard });
}"""


@pytest.fixture(scope="module")
def shown(open_notebook: Callable, ask: Callable, lab: object) -> Iterator[SimpleNamespace]:
    page = open_notebook(CELLS, height=1600)
    page.locator(".fl-desk .fl-desk-bar").first.wait_for()
    from playwright.sync_api import expect

    yield SimpleNamespace(page=page, expect=expect, ask=lambda code: ask(page, code))
    go_to_lab(page, lab)  # a page that was loaded again opens what had been open


def test_the_code_goes_to_the_clipboard(shown: SimpleNamespace):
    page = shown.page
    page.evaluate(TAKEN)
    shown.ask("editor.plan = fl.Plan.uniform(graph, curves.scores, 0.5, multiple=1); editor.wait(30)")
    page.get_by_role("button", name="Copy as code").press("Enter")
    shown.expect(page.locator(".fl-desk-work")).to_contain_text("lines of Python")
    assert page.evaluate("window.copied").strip() == shown.ask("print(editor.code())")
    assert page.locator(".fl-desk-code").is_hidden()


def test_where_the_clipboard_is_not_allowed_the_code_is_selected(shown: SimpleNamespace):
    page = shown.page
    page.evaluate(REFUSED)
    page.get_by_role("button", name="Copy as code").click()
    shown.expect(page.locator(".fl-desk-work")).to_contain_text("The clipboard is not allowed here: press Ctrl+C")
    selected = page.evaluate("""() => {
      const { value, selectionStart, selectionEnd } = document.activeElement;
      return value.slice(selectionStart, selectionEnd);
    }""")
    assert "plan = fl.Plan." in selected
    page.keyboard.press("Escape")
    assert page.locator(".fl-desk-code").is_hidden()
    assert page.evaluate("document.activeElement.textContent") == "Copy as code"


def test_the_notebook_shows_the_panel_and_keeps_a_picture(shown: SimpleNamespace, lab: object):
    page = shown.page
    assert page.locator(".jp-OutputArea-output img").count() == 0
    page.evaluate(SAVE)
    saved = max(lab.folder.glob("test*.ipynb"), key=lambda path: path.stat().st_mtime)
    outputs = [output for cell in json.loads(saved.read_text())["cells"] for output in cell.get("outputs", [])]
    kept = next(output["data"] for output in outputs if "image/png" in output.get("data", {}))
    assert "".join(kept["text/plain"]).startswith("PlanEditor of ResNet")


def test_a_page_that_is_loaded_again_can_undo(shown: SimpleNamespace):
    page = shown.page
    page.get_by_role("slider", name="layer2.0.conv1", exact=True).focus()
    for key in ("Home", "PageUp", "PageUp"):
        page.keyboard.press(key)
    settle(page)
    shown.ask("editor.snapshot('before the page was loaded again')")
    before = json.loads(shown.ask("import json; print(json.dumps(editor.get_state(['kept', 'history'])))"))
    page.evaluate(SAVE)
    page.reload()
    page.locator(".fl-desk .fl-desk-bar").first.wait_for(timeout=60_000)
    shown.expect(page.locator(".fl-desk-plans")).to_contain_text("before the page was loaded again")
    assert kept_on_screen(page) == before["kept"]
    past = before["history"]["past"]
    assert past
    page.get_by_role("button", name="Undo", exact=True).click()
    settle(page)
    assert kept_on_screen(page) == past[-1]["kept"]

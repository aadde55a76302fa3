"""The explorer's keys: no press is lost, and a pointer at rest does not take what they select."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.panels import LOOKS, OPEN, sent

VIEWS = [".fl-explorer-square", ".fl-explorer-map svg.fl-explorer-view", ".fl-explorer-grid"]
TITLE = ".fl-explorer-details h4"
# As fast as a keyboard can be: all before the next picture. Returns what is said to be selected.
PRESS = """([view, count]) => {
  const at = document.querySelector(view);
  at.focus();
  for (let i = 0; i < count; i++) {
    at.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true }));
  }
  return document.querySelector("[aria-live]").textContent.split(",")[0];
}"""


@pytest.fixture
def page(browser: object) -> Iterator[object]:
    page = browser.new_page(viewport={"width": 1000, "height": 420})  # less than a panel: keys scroll it
    page.set_content("<!doctype html><body></body>")
    page.evaluate(LOOKS)
    page.evaluate("(sent) => (window.sent = sent)", {"explorer": sent()["explorer"]})
    page.evaluate(OPEN, {"order": ["explorer"], "pixels": 900})
    page.locator(VIEWS[0]).focus()
    page.keyboard.press("Escape")
    yield page
    page.close()


@pytest.mark.parametrize("view", VIEWS)
def test_presses_before_the_next_picture_are_not_lost(page: object, view: str):
    slow = []
    for _ in range(3):
        slow.append(page.evaluate(PRESS, [view, 1]))
        page.evaluate("settled()")
        assert page.locator(TITLE).inner_text() == slow[-1]
    page.keyboard.press("Escape")
    page.evaluate("settled()")
    assert page.evaluate(PRESS, [view, 3]) == slow[-1]
    page.evaluate("settled()")
    assert page.locator(TITLE).inner_text() == slow[-1]


def test_a_pointer_at_rest_does_not_take_what_keys_select(page: object):
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(300, 370)  # over the matrix
    page.locator(VIEWS[2]).evaluate("(grid) => grid.focus({ preventScroll: true })")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("window.scrollY > 100")  # to the tile that is selected
    assert page.evaluate("document.elementFromPoint(300, 370).closest('.fl-explorer-tile') !== null")
    page.wait_for_timeout(400)  # Chromium tells somewhat later that the pointer lies over something else
    name = page.locator("[aria-live]").inner_text().split(",")[0]
    assert page.locator(TITLE).inner_text() == name
    page.mouse.move(304, 370)  # now it points
    changed = "([title, name]) => document.querySelector(title).textContent !== name"
    page.wait_for_function(changed, arg=[TITLE, name])

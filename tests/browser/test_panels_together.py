"""Panels that live in one page look as each does alone: in every order of opening, two of one kind, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest

from tests.browser.panels import LOOKS, OPEN, PANELS, ROOTS, sent, theme

# Of two sheets one is the later: an order and its reverse show each pair both ways round. All 24 are in the slow suite.
QUICK = (PANELS, PANELS[::-1])
ORDERS = [
    pytest.param(order, id="-".join(order), marks=[] if order in QUICK else [pytest.mark.slow])
    for order in permutations(PANELS)
]
# Compares each panel on the page with how it looked alone; that of a first panel is kept as how it looks alone.
COMPARE = """({ theme, css, keep }) => {
  document.getElementById("theme").textContent = css;
  document.body.dataset.jpThemeLight = String(theme === "light");
  window.alone ??= {};
  return settled().then(() => [...document.querySelectorAll("div[data-panel]")].flatMap((el) => {
    const key = `${theme} ${el.dataset.panel}`, seen = looks(el.firstElementChild);
    if (keep) window.alone[key] = seen;
    return differences(window.alone[key], seen).map((words) => `${key}: ${words}`);
  }));
}"""
REFERENCES = """() => {
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id), broken = [];
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) broken.push(`twice: ${id}`);
  let seen = 0;
  for (const root of document.querySelectorAll(".fl-root")) {
    for (const node of root.querySelectorAll("*")) {
      const to = ["for", "aria-describedby", "aria-activedescendant"].map((name) => node.getAttribute(name));
      to.push(/^url\\(#(.*)\\)$/.exec(node.getAttribute("fill"))?.[1]);
      for (const id of to.filter(Boolean)) {
        seen += 1;
        if (!root.contains(document.getElementById(id))) broken.push(`leads elsewhere: ${id}`);
      }
    }
  }
  return { seen, broken };
}"""


@pytest.fixture(scope="module")
def page(browser: object) -> Iterator[object]:
    page = browser.new_page(viewport={"width": 1320, "height": 900})
    page.set_content("<!doctype html><style id='theme'></style><body></body>")
    page.evaluate(LOOKS)
    page.evaluate("(sent) => (window.sent = sent)", sent())
    for name in PANELS:
        show(page, [name])
        assert page.locator(f".fl-root.{ROOTS[name]} *").count() > 60
        assert differing(page, keep=True) == []
    yield page
    page.close()


def show(page: object, order: list[str]) -> None:
    page.evaluate(OPEN, {"order": order, "pixels": 1280})


def differing(page: object, *, keep: bool = False) -> list[str]:
    """Return in words what looks otherwise than alone, in both themes."""
    found = []
    for name in ("light", "dark"):
        found += page.evaluate(COMPARE, {"theme": name, "css": theme(name), "keep": keep})
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_each_looks_as_alone_in_every_order_of_opening(page: object, order: tuple[str, ...]):
    show(page, list(order))
    assert differing(page)[:20] == []


def test_two_of_each_kind_look_as_one(page: object):
    show(page, [*PANELS, *reversed(PANELS)])
    assert page.locator(".fl-root").count() == 2 * len(PANELS)
    assert differing(page)[:20] == []


def test_two_of_each_kind_have_ids_of_their_own(page: object):
    show(page, [*PANELS, *PANELS])
    found = page.evaluate(REFERENCES)
    assert found["seen"] > 30
    assert found["broken"] == []


def test_the_comparison_sees_a_rule_that_meddles(page: object):
    show(page, list(PANELS))
    rule = "<style data-panel=x>.fl-desk .fl-desk-bar {height: 9px}</style>"
    page.evaluate("(rule) => document.head.insertAdjacentHTML('beforeend', rule)", rule)
    assert any("fl-desk-bar: box is" in words for words in differing(page))

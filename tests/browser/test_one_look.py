"""One look for all panels, for everybody: contrast, names, keys, little room, large type, nothing that moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import fpgmlab as fl
from tests.browser.panels import LOOKS, OPEN, PANELS, ROOTS, sent, sent_by, theme
from tests.browser.reading import READ

THEMES = ("light", "dark")
# How wide a panel is, in pixels, and whether it is large: as usual; in a page at 200 %; in a narrow column; in a room.
ROOMS = {"usual": (1280, False), "200 %": (640, False), "narrow": (400, False), "large": (1240, True)}
# Sizes of type, in pixels: of charts, small, usual, titles, numbers, the first of them; see --fl-type in common.css.
SIZES = (11, 11.96, 13, 18.85, 20.8, 29.9)
ALIKE = {
    ".fl-button:not(.fl-button-small, .fl-button-main, .fl-button-cancel, :disabled, [aria-disabled=true])": (
        "minHeight padding fontSize fontWeight fontFamily color border borderRadius background"
    ),
    "select.fl-field": "height padding fontSize fontFamily border borderRadius color background",
    "h4": "fontSize fontWeight fontFamily margin color",
    ".fl-panel": "padding border borderRadius background",
    ".fl-gauge:not(.fl-desk-verdict) strong": "fontSize fontWeight lineHeight",
    ".fl-meter": "height borderRadius background",
    ".fl-legend": "fontSize color",
    ":is(.fl-head-name, .fl-desk-head-name) strong": "fontSize fontWeight color",
    ".fl-table thead th": "fontSize fontWeight color",
}


@pytest.fixture(scope="module")
def page(browser: object) -> Iterator[object]:
    page = browser.new_page(viewport={"width": 1320, "height": 800})
    page.set_content(
        "<!doctype html><style id='theme'></style><body style='background: var(--jp-layout-color1)'></body>"
    )
    page.evaluate(LOOKS)
    page.evaluate(READ)
    page.evaluate("(sent) => (window.sent = sent)", sent())
    yield page
    page.close()


def show(page: object, look: str = "light", room: str = "usual") -> None:
    """Open all panels in a theme, with some room."""
    pixels, large = ROOMS[room]
    page.evaluate("(css) => (document.getElementById('theme').textContent = css)", theme(look))
    page.evaluate("(light) => (document.body.dataset.jpThemeLight = light)", str(look == "light").lower())
    page.evaluate("(large) => Object.values(window.sent).forEach(({ state }) => (state.large = large))", large)
    page.evaluate(OPEN, {"order": list(PANELS), "pixels": pixels})
    page.evaluate("settled()")


def of_each(page: object, what: str) -> dict[str, list]:
    """Return what a function of the page tells of each panel."""
    return {
        name: page.evaluate(f"(root) => {what}(document.querySelector(root))", f".{ROOTS[name]}") for name in PANELS
    }


NOTHING: dict[str, list] = {name: [] for name in PANELS}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("look", THEMES)
def test_texts_stand_out_in_both_themes(page: object, look: str, room: str):
    show(page, look, room)
    for name, texts in of_each(page, "texts").items():
        assert sum(text["contrast"] is not None for text in texts) > 15, name
        pale = [text for text in texts if text["contrast"] is not None and text["contrast"] < 4.5 and not text["off"]]
        assert pale == [], name


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_sticks_out_of_a_panel(page: object, room: str):
    show(page, room=room)
    assert of_each(page, "sticksOut") == NOTHING


def test_every_control_has_a_name(page: object):
    show(page)
    assert of_each(page, "nameless") == NOTHING


def test_what_is_wrong_is_seen(page: object):
    show(page)
    bad = "<p style='color: #888; width: 1400px'>pale and wide</p><input><button title='only a tip'></button>"
    page.locator(".fl-gamma").evaluate("(root, bad) => root.insertAdjacentHTML('beforeend', bad)", bad)
    (pale,) = [text for text in of_each(page, "texts")["gammas"] if text["words"] == "pale and wide"]
    assert pale["contrast"] == pytest.approx(3.54, abs=0.01)
    assert len(of_each(page, "nameless")["gammas"]) == 2
    assert of_each(page, "sticksOut")["gammas"][-1] == "P "


def test_every_control_is_reached_by_tab_and_is_seen_to_be(page: object):
    show(page)
    for name in PANELS:
        count = page.evaluate("(root) => (window.at = keyed(document.querySelector(root))).length", f".{ROOTS[name]}")
        assert count >= 4, name
        page.evaluate("at[0].focus()")
        seen, outlines = [], []
        for _ in range(count):
            seen.append(page.evaluate("at.indexOf(document.activeElement)"))
            outlines.append(page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)"))
            page.keyboard.press("Tab")
        assert seen == list(range(count)), name
        assert min(outlines[1:]) >= 1, name  # the first was not reached by a key


def test_keys_are_a_panels_before_they_are_the_notebooks(page: object):
    """Lumino asks on its way down, in Notebook 7, whether what has the focus has this mark."""
    show(page)
    page.evaluate("""() => document.addEventListener("keydown", (event) => {
      window.taken = event.target.hasAttribute("data-lm-suppress-shortcuts");
    }, { capture: true })""")
    for name in PANELS:
        page.locator(f".{ROOTS[name]} button:not(:disabled)").first.focus()
        for key, taken in (("x", True), ("ArrowUp", True), ("Control+Shift+z", True), ("Control+s", False),
                           ("Shift+Enter", False)):  # fmt: skip
            page.keyboard.press(key)
            assert page.evaluate("taken") is taken, (name, key)


def test_nothing_moves_for_who_wants_it_still(page: object):
    show(page)
    assert any(of_each(page, "moving").values())  # a bar that fills
    page.emulate_media(reduced_motion="reduce")
    assert of_each(page, "moving") == NOTHING
    page.emulate_media(reduced_motion="no-preference")


def test_all_are_written_in_the_same_few_sizes(page: object):
    show(page)
    for name, texts in of_each(page, "texts").items():
        others = {(text["kind"], text["size"]) for text in texts if min(abs(text["size"] - s) for s in SIZES) > 0.5}
        assert others == set(), name


@pytest.mark.parametrize("look", THEMES)
def test_buttons_fields_heads_and_boxes_look_the_same_in_all(page: object, look: str):
    show(page, look)
    for kind, names in ALIKE.items():
        looks = "([root, kind, names]) => looksOf(document.querySelector(root), kind, names)"
        seen = [page.evaluate(looks, [f".{root}", kind, names]) for root in ROOTS.values()]
        assert sum(each is not None for each in seen) >= 2, kind
        assert len({each for each in seen if each is not None}) == 1, kind


def test_large_is_legible_from_the_last_row(page: object):
    """On a projector of 1280 x 800 a letter of 16 pixels is 2 % of the picture's height."""
    show(page, room="large")
    for name, texts in of_each(page, "texts").items():
        assert [text for text in texts if text["size"] < 16] == [], name
    bar = page.locator(".fl-desk .fl-desk-bar").first
    tall = bar.bounding_box()["height"]
    show(page)
    assert tall == pytest.approx(1.5 * bar.bounding_box()["height"], rel=0.01)


def test_a_drag_and_a_tip_are_where_the_pointer_is_when_all_is_large(page: object):
    show(page, room="large")
    bar = page.locator(".fl-desk .fl-desk-bar").nth(2)
    bar.scroll_into_view_if_needed()
    page.evaluate("settled()")  # what comes into view is there with the next picture
    box = bar.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.9 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.5 * box["height"])
    near = "(bar) => Math.abs(Number(bar.getAttribute('aria-valuenow')) - 50) <= 4"  # a step is 6 %
    page.wait_for_function(near, arg=bar.element_handle(), timeout=5000)
    page.mouse.up()
    curve = page.locator(".fl-sweep-multiple").nth(2)
    curve.scroll_into_view_if_needed()
    curve.locator("svg").hover()
    page.locator(".fl-sweep-tip").wait_for()
    tip, frame = page.locator(".fl-sweep-tip").bounding_box(), curve.bounding_box()
    assert abs(tip["x"] - frame["x"]) < 6
    assert abs(tip["y"] - frame["y"] - frame["height"]) < 12


def test_sentences_on_many_layers_say_how_many(page: object):
    layers = [layer for _ in range(40) for layer in (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))]
    for layer in layers[1::2]:
        nn.init.uniform_(layer.weight)
    graph = fl.trace(nn.Sequential(*layers, nn.Conv2d(4, 2, 1)), torch.zeros(1, 4, 4, 4))
    panel = fl.widgets.GammaPanel(graph, ratio=0.95)
    page.evaluate("(many) => (window.sent = { ...window.sent, many })", sent_by(panel))
    page.evaluate(OPEN, {"order": ["many"], "pixels": 1280})
    held, words = int(panel.frame["at_floor"].sum()), page.locator(".fl-gamma-words").inner_text()
    panel.close()
    assert held > 20
    assert f"{held} of 40 layers are held at their floor, marked ▲ in the table." in words
    assert page.locator(".fl-gamma-floored").count() == held
    assert len(words) < 250

"""The filters below the bars, in a page: the cut moves with the bar, and two change sides by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.plans.rounding import allowed_kept, lowest
from fpgmlab.widgets.common.bundle import script
from fpgmlab.widgets.desk.exchanges import exchanged
from fpgmlab.widgets.desk.filters import going_order
from tests.browser.bridge import Bridge
from tests.widgets.desk.test_filters import group_of

STATIC = Path(fl.__file__).parent / "widgets" / "desk" / "static"

NAME = "layer1.0.conv1"  # the second bar
TILES = "[...document.querySelectorAll('[data-filter]')]"
GONE = f"{TILES}.filter((tile) => tile.classList.contains('fl-explorer-gone')).map((tile) => +tile.textContent)"
BEFORE = f"{TILES}.findIndex((tile) => tile.classList.contains('fl-explorer-cut'))"


@pytest.fixture(scope="module")
def editor() -> Iterator[fl.widgets.PlanEditor]:
    graph = fl.trace(fl.models.load("resnet20-fashion"), torch.randn(1, 1, 28, 28))
    editor = fl.widgets.PlanEditor(graph, fl.sensitivity.shipped("resnet20-fashion"), multiple=1)
    yield editor
    editor.close()


@pytest.fixture(scope="module")
def bridge(browser: object, editor: fl.widgets.PlanEditor) -> Iterator[Bridge]:
    bridge = Bridge(browser, editor)
    yield bridge
    assert bridge.errors == []
    bridge.close()


@pytest.fixture
def order(bridge: Bridge, editor: fl.widgets.PlanEditor) -> list[int]:
    """The filters are open with four channels to go; the group's channels, the first to go first."""
    editor.by_criterion(NAME)
    editor.plan = fl.Plan.from_ratios(editor._graph, editor._scores, {NAME: 0.25})
    bridge.page.locator(".fl-desk-bar").nth(1).focus()
    if not bridge.page.locator(".fl-desk-filters").is_visible():
        bridge.page.keyboard.press("f")
    bridge.pump()
    return torch.argsort(editor._scores[NAME], stable=True).tolist()


def test_the_browsers_exchanges_are_the_kernels(browser: object):
    page = browser.new_page()
    page.add_script_tag(content=script(STATIC / "hand.js"))
    for seed in range(40):
        group, rng = group_of(seed), random.Random(seed)
        scores = {"g": torch.randint(0, 6, (12,), generator=torch.Generator().manual_seed(seed)).double()}
        order, exceptions = going_order(group, scores)
        look = {"order": order.tolist(), "exceptions": exceptions, "parts": group.parts, "blocks": group.blocks}
        pairs = [rng.sample(range(12), 2) for _ in range(3)]
        counts = [12 - kept for kept in allowed_kept(group) if group.least <= kept < 12]
        theirs = page.evaluate(f"{json.dumps(counts)}.map((n) => [...handGone({json.dumps(look)}, n, null, {pairs})])")
        for count, gone in zip(counts, theirs, strict=True):
            ours = exchanged(group, lowest(group, scores, count), pairs)
            assert tuple(channel for channel in range(12) if gone[channel]) == ours
            partners = page.evaluate(f"{gone}.map((_, channel) => handPartner({json.dumps(look)}, {gone}, channel))")
            for channel, partner in enumerate(partners):
                if partner is not None:
                    assert gone[partner] != gone[channel]
                    assert group.blocks is None or group.blocks[partner] == group.blocks[channel]
    page.close()


def tile(bridge: Bridge, number: int) -> object:
    return bridge.page.locator("[data-filter]", has=bridge.page.get_by_text(str(number), exact=True))


def test_the_cut_moves_with_the_bar(bridge: Bridge, editor: fl.widgets.PlanEditor, order: list[int]):
    assert bridge.page.evaluate(f"{TILES}.map((tile) => +tile.textContent)") == order
    for key, count in (("ArrowUp", 5), ("ArrowUp", 6), ("ArrowDown", 5), ("Home", 0)):
        bridge.page.keyboard.press(key)
        bridge.page.evaluate("settled()")  # no answer of the kernel is needed
        assert bridge.page.evaluate(GONE) == order[:count]
        assert bridge.page.evaluate(BEFORE) == (count or -1)
    bridge.pump()
    assert editor.plan.removed[NAME] == ()


def test_two_change_sides_by_mouse_and_can_be_reset(bridge: Bridge, editor: fl.widgets.PlanEditor, order: list[int]):
    tile(bridge, order[1]).click()
    tile(bridge, order[8]).click()
    bridge.page.get_by_role("button", name="Exchange").click()
    bridge.pump()
    assert set(editor.plan.removed[NAME]) == {order[0], order[2], order[3], order[8]}
    assert bridge.page.evaluate(GONE) == [order[0], order[2], order[3], order[8]]
    assert bridge.page.evaluate(BEFORE) == 4
    assert bridge.page.locator(".fl-desk-detail").get_by_text("2 channels chosen by hand").is_visible()
    assert bridge.page.locator(".fl-desk-slot[data-hand='2']").count() == 1
    bridge.page.keyboard.press("Control+z")
    bridge.pump()
    assert (editor.exchanged, bridge.page.evaluate(GONE)) == ({}, order[:4])
    bridge.page.keyboard.press("Control+Shift+z")
    bridge.pump()
    assert bridge.page.evaluate(GONE) == [order[0], order[2], order[3], order[8]]
    bridge.page.locator(".fl-desk-filters").get_by_role("button", name="Reset to the criterion's order").click()
    bridge.pump()
    assert editor.exchanged == {}
    assert bridge.page.evaluate(GONE) == order[:4]
    assert bridge.page.locator(".fl-desk-slot[data-hand]").count() == 0


def test_two_change_sides_by_a_double_click_and_by_dragging(
    bridge: Bridge, editor: fl.widgets.PlanEditor, order: list[int]
):
    tile(bridge, order[0]).dblclick()
    bridge.pump()
    assert set(editor.plan.removed[NAME]) == set(order[1:5])  # the next in line goes in its place
    editor.by_criterion(NAME)
    bridge.pump()
    tile(bridge, order[10]).drag_to(tile(bridge, order[2]))
    bridge.pump()
    assert set(editor.plan.removed[NAME]) == {order[0], order[1], order[3], order[10]}


def test_two_change_sides_by_keyboard(bridge: Bridge, editor: fl.widgets.PlanEditor, order: list[int]):
    page = bridge.page
    page.mouse.move(0, 0)  # else the keys begin at the tile below the pointer
    page.get_by_role("listbox", name="Filters in order of removal").focus()
    page.keyboard.press("Escape")
    for key in ("ArrowRight", "Enter", "End", "Enter", "x"):
        page.keyboard.press(key)
        page.evaluate("settled()")
    bridge.pump()
    assert set(editor.plan.removed[NAME]) == {*order[1:4], order[-1]}


def test_it_follows_the_focus_and_says_why_nothing_can_go(bridge: Bridge, order: list[int]):
    page = bridge.page
    page.locator(".fl-desk-bar").last.focus()
    bridge.pump()
    panel = page.locator(".fl-desk-filters")
    assert panel.locator("h4").first.inner_text() == "Filters of fc"
    assert "protected (it is the model's output)" in panel.inner_text()
    assert not panel.get_by_role("button", name="Exchange").is_visible()
    page.keyboard.press("f")
    assert not panel.is_visible()

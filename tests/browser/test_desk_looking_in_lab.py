"""Filters and comparison in a real JupyterLab: what is sent in bytes arrives, and is answered beside the cells."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

CELLS = [
    """import fpgmlab as fl
task = fl.tasks.fashion_mnist().subset(train=64, val=256)
graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
curves = fl.sensitivity.shipped("resnet20-fashion")
plan = fl.Plan.uniform(graph, curves.scores, 0.3, multiple=1)""",
    "looking = fl.widgets.PlanEditor(graph, curves, task, plan=plan, multiple=1); looking",
    "print(looking.exchanged)",
]


def test_two_channels_change_sides_and_what_that_does_is_measured(open_notebook: Callable, ask: Callable):
    page = open_notebook(CELLS)
    ask(page, "looking.snapshot('before')")
    page.locator(".fl-desk-bar").nth(1).focus()
    page.keyboard.press("f")
    tiles = page.locator(".fl-desk-filters [data-filter]")
    expect(tiles).to_have_count(16)
    goes, stays = tiles.first.inner_text(), tiles.last.inner_text()
    tiles.first.click()
    tiles.last.click()
    page.get_by_role("button", name="Exchange", exact=True).click()
    expect(page.locator(".fl-desk-filters")).to_contain_text("2 channels chosen by hand")
    assert ask(page, "print(looking.exchanged['1'])") == f"[[{goes}, {stays}]]"
    for name in ("before", "on the desk"):
        page.get_by_label(f"Compare {name}").check()
    expect(page.locator(".fl-desk-compare")).to_contain_text("Measured on the same 256 pictures", timeout=60_000)
    expect(page.locator(".fl-desk-compare")).to_contain_text("1 of them others")
    assert ask(page, "looking.close(); print('closed')") == "closed"

"""The table of plans: it fits beside the plot, the unpruned network says one thing, a far point its value."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

import fpgmlab as fl
from tests.allocation.made import curves_of, rising
from tests.browser.bridge import Bridge
from tests.deployment.tables import by_stairs

FITS = """() => {
  const place = document.querySelector(".fl-desk-snapshots .fl-scroll");
  return [place.scrollWidth, place.clientWidth];
}"""
NONE = "\N{EN DASH}"
ROWS = """() => [...document.querySelectorAll(".fl-desk-plans tbody tr")].map(
  (row) => [...row.querySelectorAll("td")].slice(3, 7).map((cell) => cell.textContent))"""


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    torch.manual_seed(0)
    return fl.trace(fl.models.build("resnet20", classes=3, channels=1, width=0.5).eval(), torch.randn(1, 1, 12, 12))


def told(editor: fl.widgets.PlanEditor, value: float) -> None:
    """Let the plan on the desk have been measured as cut and repaired, as a job reports it."""
    name = editor.metric
    found = {name: value, "samples": 2000, "intervals": {name: [value - 0.022, value + 0.022]}}
    mended = {name: 0.875, "samples": 2000, "intervals": {name: [0.866, 0.884]}}
    editor.results = {",".join(map(str, editor.kept)): {"pruned": found, "repaired": mended}}


@pytest.mark.parametrize("pixels", [1239, 1240, 1332, 1679, 1700])
def test_the_table_is_seen_whole_wherever_the_plot_is_beside_it(browser: object, graph: fl.ChannelGraph, pixels: int):
    editor = fl.widgets.PlanEditor(graph, curves_of(graph, rising(graph, 0)), table=by_stairs(graph), multiple=1)
    bridge = Bridge(browser, editor, pixels=pixels)
    editor.fit_budget(macs=0.7)
    told(editor, 0.632)
    bridge.pump()
    bridge.page.get_by_role("button", name="Snapshot", exact=True).click()
    bridge.pump()
    needed, there = bridge.page.evaluate(FITS)
    assert needed <= there
    assert bridge.errors == []
    bridge.close()
    editor.close()


def test_the_unpruned_network_says_one_thing_and_a_far_point_its_value(browser: object, graph: fl.ChannelGraph):
    data = TensorDataset(torch.rand(8, 1, 12, 12), torch.arange(8) % 3)
    task = fl.tasks.Classification(train=data, val=data, classes=3)
    curves = curves_of(graph, {name: {1: 0.1} for name, group in graph.items() if not group.protected}, "accuracy")
    editor = fl.widgets.PlanEditor(graph, curves, task, table=by_stairs(graph), multiple=1, measure=None)
    bridge = Bridge(browser, editor)
    bridge.pump()
    unpruned = f"{100 * curves.base[editor.metric]:.1f} %"
    assert bridge.page.evaluate(ROWS)[1] == [unpruned, *[NONE] * 3]
    told(editor, 0.9)
    bridge.pump()
    assert bridge.page.evaluate(ROWS)[1] == [unpruned, *[NONE] * 3], "also when it is on the desk and measured"
    editor.fit_budget(macs=0.7)
    told(editor, 0.1)
    bridge.pump()
    assert bridge.page.evaluate(ROWS)[1] == [unpruned, *[NONE] * 3]
    assert bridge.page.locator(".fl-desk-live .fl-desk-beyond").text_content() == "10.0 %"
    head = bridge.page.locator(".fl-desk-plans thead .fl-desk-plan-said")
    assert "added up" in head.get_attribute("title")
    assert bridge.page.get_by_text("Predicted: what each group loses alone").is_visible()
    assert bridge.errors == []
    bridge.close()
    editor.close()

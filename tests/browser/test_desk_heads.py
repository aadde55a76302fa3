"""A desk of a network with attention, in a page: heads are called heads, long names are broken where they may be."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature

import pytest
import torch
from torch import nn

import fpgmlab as fl
from tests.allocation.made import curves_of, rising
from tests.browser.bridge import Bridge
from tests.heads import Heads

CUT = """(title) => {
  const [first, last] = title.children, box = last.getBoundingClientRect(), room = title.getBoundingClientRect();
  const whole = box.right <= room.right + 0.5, shortened = first.scrollWidth > first.clientWidth;
  return { last: last.textContent, whole, shortened };
}"""
BROKEN = """(line) => {
  const range = document.createRange(), words = line.textContent, nodes = [...line.childNodes].filter((n) => n.data);
  let top = null, at = 0;
  const ends = [];
  for (const node of nodes) for (let i = 0; i < node.data.length; i++, at++) {
    range.setStart(node, i), range.setEnd(node, i + 1);
    const box = range.getBoundingClientRect();
    if (box.width && top !== null && box.top > top + 3) ends.push(words[at - 1]);
    if (box.width) top = box.top;
  }
  return ends;
}"""


class Deep(nn.Module):
    """Three networks with attention, in modules with long names."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({f"transformer_encoder_layer_{i}": Heads() for i in range(3)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return sum(layer(images) for layer in self.layers.values())


@pytest.fixture(scope="module")
def bridge(browser: object) -> Iterator[Bridge]:
    torch.manual_seed(0)
    graph = fl.trace(Deep().eval(), torch.randn(2, 1, 12, 12))
    editor = fl.widgets.PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    bridge = Bridge(browser, editor)
    yield bridge
    assert bridge.errors == []
    bridge.close()
    editor.close()


def of_heads(bridge: Bridge) -> int:
    """Return the place of the first group of heads, and stand on its bar."""
    place = next(i for i, group in enumerate(bridge.editor._graph.values()) if group.unit_name == "head")
    bridge.page.locator(".fl-desk-bar").nth(place).focus()
    return place


def test_heads_are_kept_and_go(bridge: Bridge):
    place = of_heads(bridge)
    kept = bridge.page.get_by_label("Heads kept")
    assert kept.input_value() == "4"
    bridge.page.keyboard.press("ArrowUp")
    bridge.page.keyboard.press("f")
    bridge.pump()
    assert kept.input_value() == "3"
    filters = bridge.page.locator(".fl-desk-filters").inner_text()
    assert "1 of 4 heads go, 3 stay" in filters
    name = list(bridge.editor._graph)[place]
    assert len(bridge.editor.plan.removed[name]) == 1


def test_other_groups_keep_channels(bridge: Bridge):
    place = next(i for i, group in enumerate(bridge.editor._graph.values()) if not group.unit_name)
    bridge.page.locator(".fl-desk-bar").nth(place).focus()
    bridge.pump()
    assert bridge.page.get_by_label("Channels kept").is_visible()


def test_stages_of_long_names_are_told_apart(bridge: Bridge):
    titles = bridge.page.locator(".fl-desk-stage-title")
    found = [title.evaluate(CUT) for title in titles.all()]
    assert [each["last"] for each in found[:3]] == ["layer_0", "layer_1", "layer_2"]
    assert all(each["whole"] for each in found)
    assert any(each["shortened"] for each in found)


def test_names_of_layers_are_broken_after_dots_and_underscores(bridge: Bridge):
    of_heads(bridge)
    bridge.pump()
    ends = bridge.page.locator(".fl-desk-detail-coupled").evaluate(BROKEN)
    assert ends
    assert set(ends) <= set("._ ")


def test_only_layers_names_are_broken_and_an_empty_message_is_not_shown(bridge: Bridge):
    assert bridge.page.locator(".fl-desk-plans wbr").count() == 0
    assert not bridge.page.locator(".fl-desk-work-status .fl-message").is_visible()


def test_the_learning_rate_begins_as_in_code(bridge: Bridge):
    rate = signature(fl.widgets.PlanEditor.fine_tune).parameters["lr"].default
    assert float(bridge.page.get_by_label("learning rate").input_value()) == rate

"""The curve of the selected bar: its value is written where nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import fpgmlab as fl
from tests.browser.bridge import Bridge

CROSSED = """() => {
  const drawing = document.querySelector(".fl-desk-curve-picture"), label = drawing.querySelector(".fl-chart-label");
  const box = label.getBoundingClientRect(), over = [];
  for (const name of ["fl-chart-line", "fl-chart-base"]) {
    const path = drawing.querySelector(`.${name}`), matrix = path.getScreenCTM(), length = path.getTotalLength();
    for (let at = 0; at <= length; at += 0.5) {
      const { x, y } = path.getPointAtLength(at).matrixTransform(matrix);
      if (x > box.left && x < box.right && y > box.top + 4 && y < box.bottom - 4) {
        over.push(name);
        break;
      }
    }
  }
  const texts = [...drawing.querySelectorAll("text")].filter((text) => text !== label).map((text) => {
    const other = text.getBoundingClientRect();
    const beside = other.right <= box.left || box.right <= other.left;
    return beside || other.bottom <= box.top + 4 || box.bottom - 4 <= other.top ? null : text.textContent;
  });
  return [...over, ...texts.filter(Boolean)];
}"""


@pytest.fixture(scope="module")
def bridge(browser: object) -> Iterator[Bridge]:
    graph = fl.trace(fl.models.load("resnet20-fashion"), torch.randn(1, 1, 28, 28))
    editor = fl.widgets.PlanEditor(graph, fl.sensitivity.shipped("resnet20-fashion"), multiple=1)
    bridge = Bridge(browser, editor)
    yield bridge
    assert bridge.errors == []
    bridge.close()
    editor.close()


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_the_value_is_crossed_by_no_line_and_no_text(bridge: Bridge, metric: str):
    bridge.editor.metric = metric
    bridge.pump()
    crossed = {}
    for place in (0, 1, 4, 7, 9, 11):
        bar = bridge.page.locator(".fl-desk-bar").nth(place)
        bar.focus()
        for ratio in ("0", "1", "5", "12", "25", "50", "70", "85"):
            bridge.page.keyboard.type(ratio)
            bridge.page.keyboard.press("Enter")
            bridge.page.wait_for_timeout(250)
            if found := bridge.page.evaluate(CROSSED):
                crossed[place, ratio] = found
    assert crossed == {}

"""A visitor's desk: Save plan is a download, no path is asked for, and the budget begins with the task's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.widgets.common.seat import FOLDER, SEAT
from tests.allocation.made import curves_of, rising
from tests.browser.bridge import Bridge


@pytest.fixture
def desk(browser: object, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    if request.param:
        monkeypatch.setenv(FOLDER, str(tmp_path))
        monkeypatch.setenv(SEAT, "7")
    monkeypatch.chdir(tmp_path)
    graph = fl.trace(fl.models.build("resnet20", classes=3, channels=1, width=0.5).eval(), torch.randn(1, 1, 12, 12))
    editor = fl.widgets.PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1, budget=0.7)
    sent: list[dict] = []
    monkeypatch.setattr(editor, "send", sent.append)
    bridge = Bridge(browser, editor)
    yield bridge, sent
    bridge.close()
    editor.close()


def values(bridge: Bridge, label: str) -> list[str]:
    return bridge.page.locator(f"input[aria-label='{label}']").evaluate_all(
        "(found) => found.map((each) => each.value)"
    )


@pytest.mark.parametrize("desk", [True], indirect=True)
def test_a_visitor_downloads_the_plan(desk: tuple[Bridge, list[dict]]):
    bridge, sent = desk
    assert values(bridge, "Per cent to keep") == ["70"]
    assert bridge.page.locator(".fl-desk-work input[type=text]").count() == 0
    bridge.editor.fit_budget(macs=0.7)
    bridge.page.locator("[data-do=save]").click()
    bridge.pump()
    (answer,) = (each for each in sent if "plan" in each)
    said = bridge.page.locator(".fl-desk-work-saved")
    assert said.inner_text() == "Downloaded as plan-of-desk-7.json, and kept for the class"
    with bridge.page.expect_download() as caught:
        bridge.page.evaluate("(content) => answer(content)", json.loads(json.dumps(answer)))
    assert caught.value.suggested_filename == "plan-of-desk-7.json"
    assert fl.Plan.from_json(caught.value.path()) == bridge.editor.plan
    assert fl.Plan.from_json(Path("desk-7/plan.json")) == bridge.editor.plan
    assert bridge.errors == []


@pytest.mark.parametrize("desk", [False], indirect=True)
def test_elsewhere_a_path_is_asked_for(desk: tuple[Bridge, list[dict]]):
    bridge, sent = desk
    assert bridge.page.locator(".fl-desk-work input[type=text]").count() == 2
    bridge.page.locator("[data-do=save]").click()
    bridge.pump()
    assert bridge.page.locator(".fl-desk-work-saved").inner_text() == "Saved to plan.json"
    bridge.page.locator("[data-do=save]").click()
    bridge.pump()
    assert fl.Plan.from_json(Path("plan.json")) == bridge.editor.plan
    assert not any("plan" in each for each in sent)

"""A visitor's desk: its own file and folder whatever a visitor says; what it measured on all pictures is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.widgets.common.seat import FOLDER, SEAT, seat
from fpgmlab.widgets.desk.requests import Request, place_of


@pytest.fixture
def at_desk_seven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(SEAT, "7")
    return tmp_path


@pytest.fixture
def editor() -> Iterator[fl.widgets.PlanEditor]:
    pictures = TensorDataset(torch.rand(64, 3, 8, 8), torch.arange(64) % 4)
    task = fl.tasks.Classification(train=pictures, val=pictures, classes=4)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    graph = fl.trace(model, task.example_input)
    curves = fl.sweep(graph, fl.score(graph, "l2"), task, progress=False)
    editor = fl.widgets.PlanEditor(graph, curves, task, multiple=1, path=fl.widgets.class_path())
    yield editor
    editor.close()


def test_a_visitor_gives_no_path(at_desk_seven: Path):
    for path in ("/etc/passwd", "../../x", "~/plan.json", "plan.json"):
        assert place_of(Request("save", path=path)) == Path("desk-7/plan.json")
        assert place_of(Request("export", path=path)) == Path("desk-7/export")


def test_a_saved_plan_lies_in_the_visitors_folder_and_is_sent_to_the_browser(
    at_desk_seven: Path, editor: fl.widgets.PlanEditor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(at_desk_seven)
    editor.fit_budget(macs=0.7)
    sent: list[dict] = []
    monkeypatch.setattr(editor, "send", sent.append)
    editor._handle_custom_msg({"do": "save", "path": "plan.json"}, [])
    (answer,) = (each for each in sent if "plan" in each)
    assert answer["name"] == "plan-of-desk-7.json"
    assert fl.Plan.from_json(answer["plan"]) == fl.Plan.from_json(Path("desk-7/plan.json")) == editor.plan


@pytest.mark.parametrize("number", ["", "-1", "../1", "1/2", "٣", "x"])
def test_what_is_no_number_is_no_seat(number: str, at_desk_seven: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SEAT, number)
    assert seat() is None
    assert fl.widgets.class_path() is None


def test_elsewhere_the_desk_stands_alone(editor: fl.widgets.PlanEditor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(FOLDER, raising=False)
    assert fl.widgets.join_class(editor).children == (editor,)
    assert place_of(Request("save", path="mine.json")) == Path("mine.json")


def test_the_class_hears_what_was_measured_on_all_pictures(at_desk_seven: Path, editor: fl.widgets.PlanEditor):
    box = fl.widgets.join_class(editor)
    box.children[0].children[0].value = "Ada\n<b>"
    editor.fit_budget(macs=0.6)
    assert editor.wait(60)
    told = _told(at_desk_seven / "7.json", 2)
    assert all(each["macs"] < 1 for each in told["plans"].values()), "the unpruned network is nobody's plan"
    assert told["name"] == "Ada <b>"
    assert told["unpruned"]["value"] == pytest.approx(fl.evaluate(editor._graph.model, editor._task)["accuracy"])
    cheapest = min(told["plans"].values(), key=lambda each: each["macs"])
    assert cheapest["macs"] == editor._graph.cost(editor.plan).macs / editor._graph.cost().macs
    small = fl.prune(editor._graph, editor.plan)
    assert cheapest["networks"]["as cut"]["value"] == pytest.approx(fl.evaluate(small, editor._task)["accuracy"])
    assert {each["samples"] for each in cheapest["networks"].values()} == {64}


def _told(path: Path, networks: int) -> dict:
    for _ in range(100):
        told = json.loads(path.read_text())
        if sum(len(each["networks"]) for each in told["plans"].values()) >= networks:
            return told
        time.sleep(0.05)
    return told

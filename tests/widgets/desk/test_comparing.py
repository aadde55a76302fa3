"""Two plans side by side, in process: on the same pictures, also where only channels differ."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

import fpgmlab as fl
from fpgmlab.widgets import PlanEditor
from tests.allocation.made import curves_of, rising

NAME = "layer1.0.conv1"


@pytest.fixture(scope="module")
def editor() -> Iterator[PlanEditor]:
    task = fl.tasks.fashion_mnist().subset(train=64, val=128)
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 0).items()}
    editor = PlanEditor(graph, curves_of(graph, drops, "accuracy"), task, multiple=1)
    editor.plan = fl.Plan.from_ratios(graph, editor._scores, {NAME: 0.5})
    editor.snapshot("half")
    editor.exchange(NAME, stay=editor.plan.removed[NAME][0], go=next(
        c for c in range(16) if c not in editor.plan.removed[NAME]))  # fmt: skip
    editor.snapshot("by hand")
    editor.plan = editor._bars.nothing
    yield editor
    editor.close()


def settle(editor: PlanEditor, a: str, b: str) -> None:
    editor.compare(a, b)
    for _ in range(600):
        found = editor.compare(a, b)
        if len(found) == 2 and found["samples"].eq(128).all():
            return
        time.sleep(0.05)
    pytest.fail(f"it is not measured: {found}")


def plan_of(editor: PlanEditor, name: str) -> fl.Plan:
    if name == "original":
        return editor._bars.nothing
    return editor._snapshot_plan(next(each for each in editor.snapshots if each["name"] == name))


@pytest.mark.parametrize(("a", "b"), [("original", "half"), ("half", "by hand"), ("by hand", "on the desk")])
def test_the_difference_is_that_of_the_networks_really_cut(editor: PlanEditor, a: str, b: str):
    settle(editor, a, b)
    frame = editor.compare(a, b)
    assert list(frame) == ["network", "metric", "a", "b", "difference", "low", "high", "samples"]
    row = frame[(frame["network"] == "as cut") & (frame["metric"] == "accuracy")].iloc[0]
    task, plans = (
        editor._shop._task,
        [plan_of(editor, name) if name != "on the desk" else editor.plan for name in (a, b)],
    )
    values = [fl.evaluate(fl.prune(editor._graph, plan), task)["accuracy"] for plan in plans]
    assert [row["a"], row["b"]] == pytest.approx(values)
    assert row["difference"] == pytest.approx(values[1] - values[0])
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["samples"] == 128


def test_a_plan_against_itself_differs_in_nothing(editor: PlanEditor):
    settle(editor, "half", "half")
    frame = editor.compare("half", "half")
    assert (frame["difference"] == 0).all()
    assert (frame["low"].le(0) & frame["high"].ge(0)).all()


def test_names_that_are_none_are_refused(editor: PlanEditor):
    with pytest.raises(ValueError, match="unknown plan 'halb': did you mean 'half'"):
        editor.compare("halb", "original")


def test_by_message_and_as_it_changes(editor: PlanEditor):
    ids = {each["name"]: each["id"] for each in editor.snapshots}
    ask = editor._handle_custom_msg
    ask({"do": "compare", "a": ids["half"], "b": ids["by hand"]}, [])
    json.dumps(editor.compared, allow_nan=False)
    place = list(editor._graph).index(NAME)
    assert editor.compared["others"] == {str(place): 2}
    assert editor.compared["kept"][0] == editor.compared["kept"][1]
    ask({"do": "compare", "a": None, "b": "on the desk"}, [])
    assert editor.compared["others"] == {}
    editor.plan = plan_of(editor, "half")
    assert editor.compared["others"] == {str(place): 8}
    assert editor.compared["totals"][1]["macs"] == editor._graph.cost(editor.plan).macs
    ask({"do": "compare", "a": 99, "b": None}, [])
    assert editor.notice["words"] == "there is no snapshot 99: it was deleted"
    ask({"do": "compare", "a": "half", "b": None}, [])
    assert "a must be the id of a snapshot, 'on the desk', or nothing; got 'half'" in editor.notice["words"]
    ask({"do": "compare", "a": ids["half"], "b": None}, [])
    before = editor.snapshots
    editor.snapshots = [{**each, "parent": None} for each in before if each["id"] != ids["half"]]
    assert editor.compared == {}
    editor.snapshots = before


def test_results_of_two_snapshots_of_the_same_numbers_are_told_apart(editor: PlanEditor):
    settle(editor, "half", "by hand")
    editor._show_work()
    found = {each["name"]: editor.results[f"#{each['id']}"]["pruned"] for each in editor.snapshots}
    task = editor._shop._task
    for name in ("half", "by hand"):
        value = fl.evaluate(fl.prune(editor._graph, plan_of(editor, name)), task)["loss"]
        assert found[name].get("loss", value) == pytest.approx(value)
        assert found[name]["accuracy"] == pytest.approx(
            fl.evaluate(fl.prune(editor._graph, plan_of(editor, name)), task)["accuracy"]
        )

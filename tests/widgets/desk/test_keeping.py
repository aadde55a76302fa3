"""A desk with a file: what it held is there again after the kernel has ended, and nothing of anybody else's."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.common.later import Later
from fpgmlab.widgets.desk import keeping
from fpgmlab.widgets.desk.file import DeskFile
from tests.allocation.made import curves_of, rising
from tests.checks import random_plan
from tests.conftest import blobs
from tests.widgets.gated import SECONDS


@pytest.fixture
def job(tiny: nn.Module) -> tuple:
    task = fl.tasks.Classification(blobs(256), blobs(120, seed=1), classes=3)
    graph = fl.trace(tiny.eval(), task.example_input)
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 0).items()}
    return graph, curves_of(graph, drops, "accuracy"), task


@pytest.fixture
def make(job: tuple, tmp_path: Path) -> Iterator[Callable[..., PlanEditor]]:
    """Return a function that makes editors with a file, which are closed at the end."""
    editors = []

    def make_(*what: object, **options: object) -> PlanEditor:
        options = {"multiple": 1, "path": tmp_path / "desk.json", "measure": None} | options
        editors.append(PlanEditor(*(what or job), **options))
        return editors[-1]

    yield make_
    for editor in editors:
        editor.close()


def state_of(editor: PlanEditor) -> dict:
    names = ["kept", "own", "exchanged", "history", "snapshots", "current", "locked", "metric", "multiple", "results"]
    return json.loads(json.dumps(editor.get_state(names)))


def edited(editor: PlanEditor) -> None:
    """Leave a desk with something of everything."""
    graph = editor._graph
    free = [g for g, group in enumerate(graph.values()) if group.protected is None]
    for seed in range(4):
        editor.plan = random_plan(graph, seed)
    editor.snapshot("odd")
    kept = list(editor.kept)
    kept[free[0]] = max(1, kept[free[0]] - 1)
    editor.set_state({"kept": kept, "revision": editor.revision + 1})
    name, gone = list(graph)[free[0]], editor.plan.removed[list(graph)[free[0]]]
    stays = next(c for c in range(graph[name].channels) if c not in gone)
    editor.exchange(name, stay=gone[0], go=stays)
    editor.snapshot()
    editor.undo()
    editor.locked, editor.multiple = [free[1]], 2


def test_a_new_desk_goes_on_where_the_last_one_was(make: Callable, tmp_path: Path):
    first = make()
    edited(first)
    first.repair(samples=64)
    assert first.wait(SECONDS)
    assert first.error is None
    before, plan = state_of(first), first.plan
    assert before["results"]
    first.close()
    again = make(plan=None, multiple=1)
    assert again.plan == plan
    assert state_of(again) == before
    assert again.redo()
    assert again.exchanged != {}
    for _ in before["history"]["past"]:
        assert again.undo()
    assert list(again.report["network"].unique()) == ["original", "predicted"]
    assert [path.name for path in tmp_path.iterdir()] == ["desk.json"]


def test_what_was_measured_by_itself_is_there_again(make: Callable):
    first = make(measure="repaired")
    first.plan = random_plan(first._graph, 1)
    assert first.wait(SECONDS)
    before = first.measured
    assert set(before["network"]) == {"as cut", "repaired"}
    first.close()
    again = make(measure="repaired")
    assert again.measured.equals(before)
    assert again.points == first.points


def test_what_removes_nothing_is_not_repaired_by_the_next_desk_either(make: Callable):
    first = make(measure="repaired")
    assert first.wait(SECONDS)
    first.close()
    again = make(measure="repaired")
    assert again.wait(SECONDS)
    assert set(again.measured["network"]) == {"as cut"}


def test_a_kernel_that_ends_has_written(tmp_path: Path):
    path = tmp_path / "desk.json"
    script = f"""
import torch, fpgmlab as fl
graph = fl.trace(fl.models.load("resnet20-fashion"), torch.zeros(1, 1, 28, 28))
editor = fl.widgets.PlanEditor(graph, fl.sensitivity.shipped("resnet20-fashion"), path={str(path)!r})
editor.plan = fl.Plan.uniform(graph, editor._scores, 0.5, multiple=1)
print(editor.kept)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    stored = json.loads(path.read_text())
    assert stored["format"] == "fpgmlab-desk/1"
    assert str(stored["plan"]["kept"]) == run.stdout.strip()
    assert stored["plan"]["kept"][0] == 8


def test_edits_are_gathered_and_written_off_the_thread_of_messages(make: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "_REST", 0.05)
    editor, written = make(), []
    monkeypatch.setattr(editor._file, "write", lambda state: written.append(state["plan"]["kept"]))
    draw = random.Random(0)
    for _ in range(50):
        editor.plan = random_plan(editor._graph, draw.randrange(1000))
    until = time.monotonic() + SECONDS
    while not (written and written[-1] == editor.kept) and time.monotonic() < until:
        time.sleep(0.01)
    assert written[-1] == editor.kept
    assert len(written) < 40


def test_another_network_or_other_curves_are_refused_and_the_file_stays(make: Callable, job: tuple, tmp_path: Path):
    graph, curves, task = job
    edited(make())
    make().close()
    held = (tmp_path / "desk.json").read_bytes()
    name = next(name for name, module in graph.model.named_modules() if isinstance(module, nn.Conv2d))
    weight = graph.model.get_submodule(name).weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0] += 1
    with pytest.raises(ValueError, match=f"what differs is model: weights of {name!r}. Give another path=, or delete"):
        make()
    with torch.no_grad():
        weight.copy_(before)
    drops = {n: {k: d / 50 for k, d in points.items()} for n, points in rising(graph, 0).items()}
    with pytest.raises(ValueError, match="what differs is the curves. Give another path="):
        make(graph, curves_of(graph, drops, "accuracy", scores=curves.scores), task)
    scores = {n: score.flip(0) for n, score in curves.scores.items()}
    with pytest.raises(ValueError, match="what differs is scores of group"):
        make(graph, curves, task, scores=scores)
    assert (tmp_path / "desk.json").read_bytes() == held


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a desk's file, or it is damaged: Expecting value"),
        ("[]", "is not a desk's file"),
        ('{"format": "fpgmlab-plan/1"}', "format 'fpgmlab-plan/1' instead of 'fpgmlab-desk/1'"),
        ("\x00\x01", "is not a desk's file"),
    ],
)
def test_a_foreign_file_is_refused_and_stays(make: Callable, tmp_path: Path, text: str, words: str):
    (tmp_path / "desk.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        make()
    assert (tmp_path / "desk.json").read_text() == text


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("plan", "kept"), [1], "kept must be"),
        (("plan",), None, "a plan must be numbers of channels to keep"),
        (("history", "past"), [{"kept": "all"}], "kept must be whole numbers; got 'all'"),
        (("snapshots",), [{"id": "1"}], "the id of a snapshot must be a whole number"),
        (("metric",), "acuracy", "unknown metric 'acuracy'"),
        (("measured",), {"x": {}}, "these are no measurements of a desk"),
        (("jobs",), [{"plan": {"nowhere": [1]}, "found": {}}], "unknown group 'nowhere'"),
        (("locked",), None, "KeyError 'locked'"),
    ],
)
def test_a_damaged_file_is_refused_in_words_and_stays(
    make: Callable, tmp_path: Path, place: tuple, value: object, words: str
):
    edited(make())
    make().close()
    stored = json.loads((tmp_path / "desk.json").read_text())
    inner = stored[place[0]] if len(place) > 1 else stored
    inner[place[-1]] = value
    if words.startswith("KeyError"):
        del stored[place[0]]
    text = json.dumps(stored)
    (tmp_path / "desk.json").write_text(text)
    with pytest.raises(ValueError, match=f"{words}.*It is left as it is; give another path="):
        make()
    assert (tmp_path / "desk.json").read_text() == text


def test_measurements_of_other_pictures_are_not_taken_over(make: Callable, job: tuple):
    graph, curves, task = job
    first = make()
    first.plan = random_plan(graph, 1)
    first.evaluate()
    assert first.wait(SECONDS)
    plan = first.plan
    first.close()
    other = make(graph, curves, replace(task, val=blobs(120, seed=2)))
    assert (other.plan, other.results) == (plan, {})
    assert other.notice["words"] == "What was measured before is of other pictures: it will be measured again."


def test_two_desks_of_one_file(make: Callable, tmp_path: Path):
    first = make()
    first.plan = random_plan(first._graph, 1)
    second = make()  # the cell was run again
    assert second.plan == first.plan
    assert "Another desk keeps its plans in this one's file now" in first.notice["words"]
    first.plan = random_plan(first._graph, 2)
    first.flush()
    assert json.loads((tmp_path / "desk.json").read_text())["plan"]["kept"] == second.kept
    # A desk of another kernel, which nobody here knows of.
    text = (tmp_path / "desk.json").read_text()
    (tmp_path / "desk.json").write_text(text + " ")
    second.plan = random_plan(first._graph, 3)
    second.flush()
    assert "was written by another desk meanwhile" in second.notice["words"]
    assert (tmp_path / "desk.json").read_text() == text + " "


def test_a_folder_that_cannot_be_written(make: Callable, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        make(path=tmp_path / "file" / "desk.json")
    editor = make(path=tmp_path / "new" / "desk.json")
    os.unlink(tmp_path / "new" / "desk.json")
    os.rmdir(tmp_path / "new")
    (tmp_path / "new").write_text("")
    editor.plan = random_plan(editor._graph, 1)
    editor.flush()
    assert editor.notice["kind"] == "error"
    assert "cannot write" in editor.notice["words"]


def test_who_waits_may_hold_the_lock(make: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "_REST", 0.01)
    editor, write = make(), DeskFile.write

    def slow(file: DeskFile, state: dict) -> None:
        time.sleep(0.02)
        write(file, state)

    monkeypatch.setattr(DeskFile, "write", slow)
    editor.observe(lambda change: editor.flush(), "plan")  # callbacks hold it
    path = editor._file.path
    for seed in range(20):
        editor.plan = random_plan(editor._graph, seed)
        time.sleep(0.005)
    kept = list(editor.kept)
    editor.close()
    assert json.loads(path.read_text())["plan"]["kept"] == kept


def test_later_does_it_once_for_many_wishes():
    done: list[float] = []
    later = Later(lambda: done.append(time.monotonic()), 0.05)
    for _ in range(20):
        later.ask()
    time.sleep(0.3)
    assert len(done) == 1
    later.ask()
    later.cancel()
    later.cancel()
    time.sleep(0.2)
    assert len(done) == 1

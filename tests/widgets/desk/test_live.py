"""What the desk measures by itself, against the functions that do it in a cell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Subset

import fpgmlab as fl
from fpgmlab.sensitivity.curves.intervals import Paired
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.desk.live import engine
from fpgmlab.widgets.desk.live.memory import Memory, plan_digest
from tests.conftest import blobs
from tests.widgets.gated import SECONDS, Gated

METRICS = ("accuracy", "loss", "agreement")


@pytest.fixture
def data() -> Iterator[Gated]:
    found = Gated(300)
    yield found
    found.gate.set()


@pytest.fixture
def job(tiny: nn.Module, data: Gated) -> tuple:
    task = fl.tasks.Classification(blobs(256), data, classes=3)
    graph = fl.trace(tiny.eval(), task.example_input)
    scores = fl.score(graph, "fpgm")
    curves = fl.sweep(graph, scores, task, ratios=(0.3, 0.6), max_samples=60, progress=False)
    return graph, curves, task


@pytest.fixture
def make(job: tuple, data: Gated) -> Iterator[Callable[..., PlanEditor]]:
    editors = []

    def make_(*what: object, **options: object) -> PlanEditor:
        editors.append(PlanEditor(*(what or job), **{"multiple": 1, **options}))
        return editors[-1]

    yield make_
    data.gate.set()
    for editor in editors:
        editor.close()


def measured(editor: PlanEditor, network: str, metric: str) -> dict:
    rows = editor.measured.set_index(["network", "metric"])
    return rows.loc[(network, metric)].to_dict()


def plan_of(job: tuple, ratio: float) -> fl.Plan:
    return fl.Plan.uniform(job[0], job[1].scores, ratio, multiple=1)


def test_what_is_shown_is_what_prune_and_repair_give(job: tuple, make: Callable) -> None:
    graph, _, task = job
    plan = plan_of(job, 0.4)
    editor = make(plan=plan)
    assert editor.wait(SECONDS)
    for network, model in (
        ("as cut", fl.prune(graph, plan)),
        ("repaired", fl.repair(graph, plan, task, samples=256, progress=False)),
    ):
        found = fl.evaluate(model, task)
        assert measured(editor, network, "accuracy")["value"] == pytest.approx(found["accuracy"], abs=1e-6)
        assert measured(editor, network, "loss")["value"] == pytest.approx(found["loss"], rel=1e-4)
        with torch.no_grad():
            both = [(m(x).argmax(1), y) for x, y in task.val_batches(300, None) for m in (model.eval(), graph.model)]
        right, before = ((answers == labels).double() for answers, labels in both)
        _value, low, high = Paired.of(right, before).interval(binary=True)
        row = measured(editor, network, "accuracy")
        assert (row["low"], row["high"], row["samples"]) == (pytest.approx(low), pytest.approx(high), 300)
        agree = (both[0][0] == both[1][0]).double().mean()
        assert measured(editor, network, "agreement")["value"] == pytest.approx(float(agree))
    assert list(editor.measured.columns) == ["network", "metric", "value", "low", "high", "samples"]
    json.dumps(editor.get_state(["live", "points", "results", "glimpse"]), allow_nan=False)
    report = editor.report.set_index(["network", "metric"])
    assert report.loc[("repaired", "accuracy"), "low"] == measured(editor, "repaired", "accuracy")["low"]


def test_of_nothing_removed_it_is_the_unpruned_network(job: tuple, make: Callable) -> None:
    editor = make()
    assert editor.wait(SECONDS)
    assert set(editor.measured["network"]) == {"as cut"}
    assert measured(editor, "as cut", "agreement")["value"] == 1
    found = fl.evaluate(job[0].model, job[2])["accuracy"]
    assert measured(editor, "as cut", "accuracy")["value"] == pytest.approx(found, abs=1e-6)


def test_few_pictures_first_and_the_next_edit_ends_it(job: tuple, make: Callable, data: Gated) -> None:
    data.stop = 256
    editor = make(plan=plan_of(job, 0.4), measure="as cut")
    assert data.reached.wait(SECONDS)  # it is after more pictures
    live = editor.live
    assert live["kept"] == ",".join(map(str, editor.kept))
    assert live["samples"] == {"as cut": 256}
    assert live["of"] == 300
    editor.plan = plan_of(job, 0.2)
    assert editor.live["networks"] == {}  # at once: no number of another plan
    assert editor.live["kept"] == ",".join(map(str, editor.kept))
    assert not editor.wait(0.01)
    data.gate.set()
    assert editor.wait(SECONDS)
    assert editor.live["samples"] == {"as cut": 300}
    assert editor.live["doing"] == ""


def test_coming_back_costs_nothing(job: tuple, make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = make(plan=plan_of(job, 0.4))
    assert editor.wait(SECONDS)
    before = editor.measured
    editor.plan = plan_of(job, 0.2)
    assert editor.wait(SECONDS)
    monkeypatch.setattr(engine.Live, "_do", lambda *what: pytest.fail("measured again"))
    editor.plan = plan_of(job, 0.4)
    assert editor.measured.equals(before)
    assert editor.wait(0)
    assert [set(point) for point in editor.points] == [{"kept", "macs", "latency", "as cut", "repaired"}] * 2
    assert editor.points[-1]["macs"] == job[0].cost(editor.plan).macs


def test_a_glimpse_is_of_a_plan_that_passes_by(job: tuple, make: Callable) -> None:
    editor = make(measure="as cut")
    assert editor.wait(SECONDS)
    plan = plan_of(job, 0.4)
    kept = [plan.kept[name] for name in job[0]]
    editor._asked(None, {"do": "look", "kept": kept}, [])
    until = time.monotonic() + SECONDS
    while editor.glimpse.get("kept") != ",".join(map(str, kept)) and time.monotonic() < until:
        time.sleep(0.01)
    assert editor.glimpse["samples"] == {"as cut": 256}
    assert set(editor.glimpse["networks"]) == {"as cut"}
    assert sum(editor.plan.kept.values()) > sum(kept)  # the desk has its own plan still
    with torch.no_grad():
        inputs, labels = next(iter(job[2].val_batches(256, 256)))
        right = (fl.prune(job[0], plan).eval()(inputs).argmax(1) == labels).double().mean()
    assert editor.glimpse["networks"]["as cut"]["accuracy"]["value"] == pytest.approx(float(right))
    editor._asked(None, {"do": "look", "kept": ["many"]}, [])
    assert "list" in editor.notice["words"]


def test_two_plans_on_the_same_pictures(job: tuple, make: Callable) -> None:
    graph, _, task = job
    plans = [plan_of(job, ratio) for ratio in (0.2, 0.5)]
    editor = make(plan=plans[0])
    with editor._lock:
        editor._live.want(plans[1])
    until = time.monotonic() + SECONDS
    rows: list = []
    while time.monotonic() < until and (len(rows) < 6 or rows[0]["samples"] < 300 or rows[-1]["samples"] < 300):
        time.sleep(0.02)
        with editor._lock:
            rows = editor._live.compare(*plans)
    found = {(row["network"], row["metric"]): row for row in rows}
    assert set(found) == {(network, metric) for network in ("as cut", "repaired") for metric in METRICS}
    with torch.no_grad():
        inputs, labels = next(iter(task.val_batches(300, None)))
        right = [(fl.prune(graph, plan).eval()(inputs).argmax(1) == labels).double() for plan in plans]
    _value, low, high = Paired.of(right[1], right[0]).interval(binary=True)
    row = found["as cut", "accuracy"]
    assert row["difference"] == pytest.approx(float((right[1] - right[0]).mean()))
    assert (row["low"], row["high"]) == (pytest.approx(low - right[0].mean()), pytest.approx(high - right[0].mean()))


@pytest.mark.parametrize(
    ("measure", "networks"), [("repaired", {"as cut", "repaired"}), ("as cut", {"as cut"}), (None, set())]
)
def test_how_far_it_goes(job: tuple, make: Callable, measure: str | None, networks: set) -> None:
    editor = make(plan=plan_of(job, 0.4), measure=measure)
    assert editor.wait(SECONDS)
    assert set(editor.measured["network"]) == networks
    assert bool(editor.live["why"]) == (measure is None)


def test_what_cannot_be_measured_says_why(job: tuple, make: Callable) -> None:
    graph, curves, _task = job
    editor = make(graph, curves, plan=plan_of(job, 0.4))
    assert editor.wait(SECONDS)
    assert "no task" in editor.live["why"]
    assert editor.measured.empty
    with pytest.raises(ValueError, match="measure must be one of 'repaired', 'as cut', None; not 'all'"):
        make(measure="all")


def test_a_failure_is_told_and_the_desk_goes_on(job: tuple, make: Callable, data: Gated) -> None:
    data.stop, data.damaged = 256, True
    editor = make(plan=plan_of(job, 0.4), measure="as cut")
    assert editor.wait(SECONDS)
    assert "picture 256 is damaged" in editor.live["why"]
    assert editor.live["samples"] == {"as cut": 256}  # what is there stays
    data.stop = 10**9
    editor.plan = plan_of(job, 0.2)
    assert editor.wait(SECONDS)
    assert editor.live["why"] == ""


def test_without_training_pictures_it_is_not_repaired(job: tuple, make: Callable) -> None:
    graph, curves, task = job
    empty = fl.tasks.Classification(blobs(8), task.val, classes=3)
    object.__setattr__(empty, "train", Subset(blobs(8), []))
    editor = make(graph, curves, empty, plan=plan_of(job, 0.4))
    assert editor.wait(SECONDS)
    assert "no training data" in editor.live["why"]
    assert set(editor.measured["network"]) == {"as cut"}


def test_without_labels_it_is_the_agreement(job: tuple, make: Callable) -> None:
    graph, _, task = job

    class Unlabelled(fl.tasks.Classification):
        def val_batches(self, *what: int) -> Iterator:
            return ((inputs, None) for inputs, _ in super().val_batches(*what))

    free = Unlabelled(task.train, task.val, classes=3)
    curves = fl.sweep(graph, job[1].scores, free, ratios=(0.5,), metrics="agreement", progress=False)
    editor = make(graph, curves, free, plan=plan_of(job, 0.4))
    assert editor.wait(SECONDS)
    assert list(editor.measured["metric"]) == ["agreement"] * 2


def test_other_work_goes_first(job: tuple, make: Callable, data: Gated) -> None:
    data.stop = 256
    editor = make(plan=plan_of(job, 0.4))
    assert data.reached.wait(SECONDS)
    editor.evaluate()
    data.gate.set()
    assert editor.wait(SECONDS)
    assert editor.state == "finished"
    assert editor.live["samples"] == {"as cut": 300, "repaired": 300}
    assert editor.results[editor.live["kept"]]["pruned"]["samples"] == 300


def test_other_weights_are_measured_anew(job: tuple, make: Callable) -> None:
    editor = make(plan=plan_of(job, 0.4), measure="as cut")
    assert editor.wait(SECONDS)
    before = measured(editor, "as cut", "loss")["value"]
    with torch.no_grad():
        for parameter in job[0].model.parameters():
            parameter.mul_(1.2)
    editor.plan = plan_of(job, 0.2)
    editor.plan = plan_of(job, 0.4)
    assert editor.wait(SECONDS)
    found = fl.evaluate(fl.prune(job[0], editor.plan), job[2])
    assert measured(editor, "as cut", "loss")["value"] == pytest.approx(found["loss"], rel=1e-4)
    assert before != pytest.approx(found["loss"], rel=1e-3)


def test_no_edit_is_lost_and_no_number_is_of_another_plan(job: tuple, make: Callable) -> None:
    editor = make()
    random = np.random.default_rng(0)
    seen = []
    editor.observe(lambda change: seen.append((change["new"], list(editor.kept))), "live")
    widths = [group.channels for group in job[0].values()]
    free = [i for i, group in enumerate(job[0].values()) if group.protected is None]
    for _ in range(60):
        kept = list(editor.kept)
        place = int(random.choice(free))
        kept[place] = int(random.integers(1, widths[place] + 1))
        editor.set_state({"kept": kept, "revision": editor.revision + 1})
        assert editor.kept == kept
        time.sleep(float(random.uniform(0, 0.02)))
    assert editor.wait(SECONDS)
    assert all(live["kept"] == ",".join(map(str, kept)) for live, kept in seen)
    found = fl.evaluate(fl.prune(job[0], editor.plan), job[2])
    assert measured(editor, "as cut", "accuracy")["value"] == pytest.approx(found["accuracy"], abs=1e-6)


def test_memory_as_json(job: tuple, make: Callable) -> None:
    editor = make(plan=plan_of(job, 0.4))
    assert editor.wait(SECONDS)
    stored = json.loads(json.dumps(editor._live.agenda.memory.dump(), allow_nan=False))
    memory = Memory()
    memory.load(stored)
    entry = memory.get(plan_digest(editor.plan))
    assert entry is not None
    assert entry.stages["repaired"].complete
    assert (
        entry.stages["repaired"].found
        == editor._live.agenda.memory.get(plan_digest(editor.plan)).stages["repaired"].found
    )
    for damaged in ({"x": 1}, {"x": {"key": "1", "macs": 1, "latency": None, "timed": None, "stages": {"fine": {}}}}):
        with pytest.raises(ValueError, match=r"no measurements|must be one of"):
            Memory().load(damaged)


def test_it_ends_with_the_desk(job: tuple, data: Gated) -> None:
    data.stop = 256
    editor = PlanEditor(*job, plan=plan_of(job, 0.4), multiple=1)
    assert data.reached.wait(SECONDS)
    threads = list(editor._live._threads)
    assert len(threads) == 1
    data.gate.set()
    editor.close()
    threads[0].join(SECONDS)
    assert not threads[0].is_alive()
    assert set(editor.live["samples"].values()) == {256}  # nothing more was measured


def test_the_network_that_rests_is_timed(job: tuple, make: Callable) -> None:
    graph, _, _ = job
    table = fl.latency_table(graph, variants=12, rounds=2, progress=False)
    editor = make(plan=plan_of(job, 0.4), table=table, measure="as cut")
    assert editor.wait(SECONDS)
    until = time.monotonic() + SECONDS
    while editor.live["timed"] is None and time.monotonic() < until:
        time.sleep(0.05)
    timed = editor.live["timed"]
    assert timed["runtime"] == "onnxruntime"
    assert 0 < timed["low"] <= timed["ms"] <= timed["high"]
    assert editor.live["why"] == ""


def test_the_tasks_own_metric_comes_with_those_of_the_curves(job: tuple, make: Callable) -> None:
    graph, _, task = job
    curves = fl.sweep(graph, job[1].scores, task, ratios=(0.5,), metrics="change", progress=False)
    editor = make(graph, curves, task, plan=plan_of(job, 0.4), measure="as cut")
    assert editor.wait(SECONDS)
    assert list(editor.measured["metric"]) == ["change", "accuracy"]
    found = fl.evaluate(fl.prune(graph, editor.plan), task)
    assert measured(editor, "as cut", "accuracy")["value"] == pytest.approx(found["accuracy"], abs=1e-6)


def test_paused_it_measures_nothing_until_the_next_edit(job: tuple, make: Callable, data: Gated) -> None:
    data.stop = 256
    editor = make(plan=plan_of(job, 0.4))
    assert data.reached.wait(SECONDS)
    with editor._lock:
        editor._live._paused = True  # what `pause` begins with; it then waits for the picture that the gate holds
    data.gate.set()
    editor.pause()
    assert not editor.wait(SECONDS)  # at once
    assert "Paused" in editor.live["why"]
    seen = editor.live["samples"]
    assert max(seen.values()) < len(data)
    time.sleep(0.2)
    assert editor.live["samples"] == seen
    editor.plan = plan_of(job, 0.5)
    assert editor.wait(SECONDS)
    assert "Paused" not in editor.live["why"]


def test_it_repairs_with_so_many_pictures_as_it_was_told(job: tuple, make: Callable) -> None:
    graph, _, task = job
    editor = make(plan=plan_of(job, 0.5), repair_samples=24)
    assert editor.wait(SECONDS)
    expected = fl.evaluate(fl.repair(graph, editor.plan, task, samples=24, progress=False), task)
    other = fl.evaluate(fl.repair(graph, editor.plan, task, progress=False), task)
    assert expected["loss"] != pytest.approx(other["loss"], abs=1e-4)
    assert measured(editor, "repaired", "loss")["value"] == pytest.approx(expected["loss"], abs=1e-5)
    editor.repair()
    assert editor.wait(SECONDS)
    assert "24 pictures" in editor.work["words"]
    assert "small = fl.repair(graph, plan, task, samples=24)  # " in editor.code()
    with pytest.raises(ValueError, match="repair_samples must be a whole number of at least 1; got 0"):
        PlanEditor(*job, repair_samples=0)

"""Stored studies against a fresh small run: signs, orders and ratios as they were, within what is stated; no times.

Judged by fewer pictures, at one setting. `make test-slow` runs it; what cannot be run so is in `NOT_FRESH`, with why.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import fpgmlab as fl
from fpgmlab.sensitivity.replay.points import points
from tests.benchmarks import allocation, geometry, recovery, runtimes, sweep

NOT_FRESH = {
    "classroom": "minutes of thirty visitors; tests/widgets/classroom opens the desk to two",
    "container": "builds an image of gigabytes",
    "desk": "milliseconds in Chromium; tests/browser holds their bounds",
    "detector": "hours of training, from weights that are fetched",
    "detector_recovery": "hours of training, from weights that are fetched",
    "fitting": "a ratio of times to a few hundredths, on a machine with nothing else to do",
    "reach": "hours over hundreds of networks; tests/surgery/test_brought.py takes sixty of them the whole way",
    "tracing": "needs a checkout of the version before",
}
NAME = "vgg16-fashion"  # the quicker one


@pytest.fixture(scope="module")
def task() -> fl.tasks.Classification:
    return fl.tasks.fashion_mnist(holdout=5000)


@pytest.fixture(scope="module")
def graph(task: fl.tasks.Classification) -> fl.ChannelGraph:
    return fl.trace(fl.models.load(NAME), task.example_input)


def judged(model: object, task: fl.tasks.Classification) -> float:
    return 100 * fl.evaluate(model, task, split="test")["accuracy"]


def repaired(graph: fl.ChannelGraph, criterion: object, macs: float, task: fl.tasks.Classification) -> float:
    plan = fl.Plan.uniform(graph, fl.score(graph, criterion), macs=macs, multiple=1)
    return judged(fl.repair(graph, plan, task, progress=False), task)


def test_each_study_is_run_afresh_or_has_a_reason():
    here = {name.removeprefix("test_fresh_") for name in globals() if name.startswith("test_fresh_")}
    assert here | set(NOT_FRESH) == set(fl.results()["name"])
    assert not here & set(NOT_FRESH)


@pytest.mark.slow
def test_fresh_geometry():
    """The same sets as scipy's, in about as many iterations."""
    shapes = Counter({(64, 576): 2, (256, 2304): 1})
    found = geometry.measure(shapes, 2)
    stored = fl.studies.load("geometry")["resnet152"]
    assert found["same_removed_sets"] is stored["same_removed_sets"] is True
    assert found["most_iterations"] <= 3 * stored["most_iterations"]


@pytest.mark.slow
def test_fresh_repair(graph: fl.ChannelGraph, task: fl.tasks.Classification):
    """In the stored order; as cut to half a point, repaired to a third of one, about four deviations of its draws."""
    stored = fl.studies.load("repair")["classifiers"][f"{NAME}, 50%, uniform, fpgm"]
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), macs=0.5, multiple=1)
    assert graph.cost(plan).macs / graph.cost().macs == pytest.approx(stored["macs"], abs=0.01)
    cut = fl.prune(graph, plan)
    figures = [judged(cut, task)]
    fl.recalibrate(cut, task)
    figures += [judged(cut, task), judged(fl.repair(graph, plan, task, progress=False), task)]
    assert figures[0] + 30 < figures[1] < figures[2] - 2
    assert stored["as cut"] + 0.3 < stored["recalibrated"] < stored["repaired"]["mean"] - 0.02
    assert figures[0] == pytest.approx(100 * stored["as cut"], abs=0.5)
    assert figures[2] == pytest.approx(100 * stored["repaired"]["mean"], abs=0.3)


@pytest.mark.slow
def test_fresh_reconstruction(graph: fl.ChannelGraph, task: fl.tasks.Classification):
    """Ahead of FPGM after repair at a quarter of the MACs, as stored; one draw, within a point."""
    stored = fl.studies.load("reconstruction")["networks"][NAME]["after_repair"]["reconstruction"]["0.25"]["over_fpgm"]
    ahead = repaired(graph, fl.criteria.Reconstruction(task), 0.25, task) - repaired(graph, "fpgm", 0.25, task)
    assert stored["low"] > 0
    assert 0 < ahead < stored["mean"] + 1


@pytest.mark.slow
def test_fresh_gradual(task: fl.tasks.Classification):
    """The first seed's one cut, to a quarter of a point: on another processor sums may differ in their last digits."""
    key = ["repair", "runs", {"network": NAME, "way": "one cut", "budget": 0.35, "seed": 0}, "accuracy"]
    stored = fl.studies.places.found(fl.studies.load("gradual"), key).value
    small, _ = fl.prune_gradually(
        fl.models.load(NAME), task, target=0.35, steps=1, between=[fl.Repair(seed=0)], multiple=1, max_samples=500,
        progress=False,
    )  # fmt: skip
    assert judged(small, task) == pytest.approx(100 * stored, abs=0.25)


@pytest.mark.slow
def test_fresh_recovery():
    """One cell of the grid: the answers to the test pictures that are stored, but for 50 of 10,000."""
    cell = recovery.Cell(NAME, "repair", "fpgm", "uniform", 0.5, 0)
    rows = fl.studies.frame("recovery")
    for column, value in vars(cell).items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    whole = recovery.graph(NAME)
    plan = fl.Plan.uniform(whole, recovery.scores(NAME, "fpgm", 0), macs=0.5, multiple=1)
    model, _ = recovery.WAYS_THERE[cell.way](cell, whole, plan)
    stored = np.unpackbits(np.frombuffer(rows.iloc[0]["right"], np.uint8))
    assert (recovery.unpacked(recovery.answers(model)) != stored).sum() < 50


@pytest.mark.slow
def test_fresh_allocation(task: fl.tasks.Classification):
    """Forecasts of two random plans: repaired within two points, as cut five times further off or more."""
    stored = fl.studies.load("allocation")["forecasts"][NAME]["mean_absolute_error"]
    fewer = fl.tasks.fashion_mnist().subset(val=1500)
    found = allocation.forecasts(NAME, fewer, 2)["mean_absolute_error"]
    assert found["repaired"] < 2 > stored["repaired"]
    assert found["as_cut"] > 5 * found["repaired"]
    assert stored["as_cut"] > 5 * stored["repaired"]


@pytest.mark.slow
def test_fresh_latency(task: fl.tasks.Classification):
    """At half of the MACs, numbers of channels that do not fit the runtime's blocks take longer, as stored."""
    rows = fl.studies.table("latency", "planning/rows").query("network == 'resnet20' and batch == 1").set_index("plan")
    whole = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    curves = fl.sensitivity.shipped("resnet20-fashion", repaired=True)
    networks = {
        f"by MACs, multiple={multiple}": fl.prune(whole, fl.allocate(whole, curves, macs=0.5, multiple=multiple))
        for multiple in (1, 8)
    }
    times = fl.benchmark(networks, task.example_input, runtimes=["onnxruntime"], threads=1, rounds=20, memory=False)
    times = times.set_index("name")["median_ms"]
    for found in (times, rows["time"]):
        assert found["by MACs, multiple=1"] > 1.1 * found["by MACs, multiple=8"]


@pytest.mark.slow
def test_fresh_quantization(graph: fl.ChannelGraph, task: fl.tasks.Classification, tmp_path: Path):
    """Bytes to two hundredths of those stored, agreement to one; all layers in INT8, where a first one was in float."""
    stored = fl.studies.load("quantization")["vgg16, half of the MACs, multiples of 4"]["unpruned"]["int8"]
    fl.export_onnx(graph.model, task.example_input, tmp_path / "whole.onnx", opset=17)
    report = fl.quantize(
        tmp_path / "whole.onnx", task, tmp_path / "int8.onnx", samples=256, fastest=False, progress=False
    )
    assert report.bytes_ratio == pytest.approx(stored["bytes_of_float32"], abs=0.02)
    assert report.agreement == pytest.approx(stored["agreement"], abs=0.01)
    assert report.before - report.after == pytest.approx(0, abs=0.005)


@pytest.mark.slow
def test_fresh_runtimes():
    """A network pruned at odd widths answers as in torch, to a hundred-thousandth of its largest output."""
    stored = fl.studies.load("runtimes")["parity"]["resnet20, a sixth gone"]
    model, example = runtimes.resnet20()
    there = [name for name in ("onnxruntime", "openvino", "ncnn") if importlib.util.find_spec(name)]
    frame = fl.benchmark(
        {"odd": runtimes.odd(model, example)}, example, runtimes=there, threads=1, rounds=2, memory=False
    )
    assert (frame["parity"] < 1e-5).all()
    assert all(stored[name] < 1e-5 for name in there)


@pytest.mark.slow
def test_fresh_sweep(task: fl.tasks.Classification):
    """A sweep's points are those of pruning and evaluating, to a millionth of the loss."""
    stored = fl.studies.load("sweep")["against_evaluating"]["largest_difference_to_naive"]
    fewer = task.subset(val=500)
    whole = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    scores = fl.score(whole)
    curves = fl.sweep(whole, scores, fewer, ratios=(0.5,), metrics=sweep.METRICS, progress=False)
    naive = {
        (point.group, point.kept): fl.evaluate(fl.prune(whole, point.plan), fewer)
        for point in points(whole, scores, (0.5,), 1)[::4]
    }
    found = sweep.compare(curves, naive)
    for metric in sweep.METRICS:
        assert max(found[metric], stored[metric]) < 1e-6

"""Metrics of a task's own: held against torchmetrics on the outputs of really pruned networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassHammingDistance,
    MulticlassROC,
)
from torchmetrics.regression import PearsonCorrCoef

import fpgmlab as fl
from fpgmlab.allocation.forecast import forecast
from fpgmlab.sensitivity.curves import states
from fpgmlab.sensitivity.curves.intervals import within
from fpgmlab.sensitivity.curves.states import States
from tests.sensitivity.small import run, same, small_graph, small_task, stop_after

OWN = {
    "f1": lambda: MulticlassF1Score(3, average="macro"),
    "auroc": lambda: MulticlassAUROC(3, thresholds=None),
    "hamming": lambda: MulticlassHammingDistance(3, average="micro"),
}
NAMES = ["loss", *OWN]


def own_task(metrics: dict | None = None, **options: int) -> fl.tasks.Classification:
    return replace(small_task(**options), metrics=OWN if metrics is None else metrics)


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    return small_graph()


def everything(model: nn.Module, task: fl.tasks.Classification, metric: Metric) -> float:
    """Return a metric over all samples, by torchmetrics alone."""
    images, labels = task.val.tensors
    with torch.no_grad():
        metric.update(model(images), labels)
    return float(metric.compute())


@pytest.mark.parametrize("memory", [4e9, 2e5])  # the second cuts the batches
def test_values_are_torchmetrics_over_all_samples(graph: fl.ChannelGraph, memory: float):
    task, scores = own_task(count=45), fl.score(graph, "l1")
    curves = run(graph, None, task, metrics=NAMES, memory=memory)
    assert curves.complete
    assert set(curves.frame["metric"]) == set(NAMES)
    for (group, kept, name), point in curves.frame.groupby(["group", "kept", "metric"]):
        plan = fl.Plan.from_ratios(graph, scores, {group: 1 - kept / graph[group].channels})
        small = fl.prune(graph, plan) if kept < graph[group].channels else graph.model
        if name in OWN:
            assert point["value"].item() == pytest.approx(everything(small, task, OWN[name]()), abs=1e-5)
            assert point["samples"].item() == 45
    assert not curves.higher_is_better("hamming")
    assert curves.higher_is_better("f1")


def test_the_unpruned_networks_metric_is_computed_once_for_all_points(
    graph: fl.ChannelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    curves = run(graph, None, own_task(), metrics=["f1", "auroc"])
    points, batches, calls, compute = 4, 4, [], states.compute
    expected = {key: sums.interval() for key, sums in curves.sums.items()}
    monkeypatch.setattr(states, "compute", lambda *given: [calls.append(1), compute(*given)][1])
    frame = curves.frame
    assert len(calls) <= 2 * (points + 2) * (batches + 1)
    for row in frame[frame["ratio"] > 0].itertuples():
        assert (row.value, row.low, row.high) == expected[row.group, row.kept, row.metric]
    calls.clear()
    curves.save(tmp_path / "curves.parquet")
    assert len(calls) <= 2 * (points + 2) * (batches + 1)
    assert fl.Curves.load(tmp_path / "curves.parquet").frame.equals(frame)


def states_of(values: Tensor, base: Tensor, batch: int) -> States:
    """Return the states of micro accuracies whose answers are right or wrong as given."""
    from fpgmlab.sensitivity.curves.task_metrics import named

    task = own_task({"acc": lambda: MulticlassAccuracy(3, average="micro")})
    rule = named("acc", task)
    labels = torch.zeros(len(values)).long()
    sums = rule.nothing
    for part in zip(values.split(batch), base.split(batch), labels.split(batch), strict=True):
        right, right_before = (nn.functional.one_hot((~answers).long(), 3).float() for answers in part[:2])
        sums += rule.judge(task, right_before, part[2]).of(right)
    return sums


def test_for_a_mean_the_interval_is_that_of_the_paired_t_test_over_batches():
    base, values = torch.rand(120) < 0.8, torch.rand(120) < 0.6
    value, low, high = states_of(values, base, 10).interval()
    drops = (values.double() - base.double()).view(12, 10).mean(1).numpy()
    expected = stats.ttest_1samp(drops, 0).confidence_interval(0.95)
    reference = float(base.double().mean())
    assert value == pytest.approx(float(values.double().mean()))
    assert (low - reference, high - reference) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say_with_batches_of_unequal_size():
    generator, hits = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        base = torch.rand(115, generator=generator) < 0.8
        lost = torch.rand(115, generator=generator) < 0.25
        _, low, high = states_of(base & ~lost, base, 20).interval()
        hits += low <= float(base.double().mean()) - 0.8 * 0.25 <= high
    assert 0.9 < hits / 200 < 0.99


def test_two_batches_are_too_few_for_an_interval(graph: fl.ChannelGraph):
    curves = run(graph, None, own_task(), metrics=["f1"], max_samples=20)
    points = curves.frame[curves.frame["ratio"] > 0]
    assert (points["low"] == -math.inf).all()
    assert (points["high"] == math.inf).all()


def test_a_tolerance_ends_points(graph: fl.ChannelGraph):
    curves = run(graph, None, own_task(), metrics=["auroc"], tolerance=0.15)
    assert curves.complete
    points = curves.frame[curves.frame["ratio"] > 0]
    assert 30 <= points["samples"].min() < points["samples"].max() == 40
    early = points[points["samples"] < 40]
    assert ((early["high"] - early["low"]) / 2 <= 0.15).all()


# Kept, joined, spread ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [None, 0.15])
def test_stopped_after_every_batch_it_ends_the_same(graph: fl.ChannelGraph, tmp_path: Path, tolerance: float | None):
    options = {"task": own_task(), "metrics": ["auroc", "f1", "loss"], "tolerance": tolerance}
    whole = run(graph, None, **options)
    for _ in range(3):
        curves = stop_after(graph, tmp_path, 1, **options)
        assert not curves.complete
        assert same(fl.Curves.load(tmp_path, task=options["task"]), curves)
        with pytest.raises(ValueError, match=r"Curves.load\(path, task=task\)"):
            fl.Curves.load(tmp_path).frame  # noqa: B018
    assert same(run(graph, tmp_path, **options), whole)
    assert same(fl.Curves.load(tmp_path), whole)  # needs no task any more
    assert same(run(graph, tmp_path, **options), whole)


def test_saved_curves_are_the_same_bit_by_bit_without_the_task(graph: fl.ChannelGraph, tmp_path: Path):
    curves = run(graph, None, own_task(), metrics=NAMES)
    curves.save(tmp_path / "curves.parquet")
    again = fl.Curves.load(tmp_path / "curves.parquet")
    assert same(again, curves)
    assert again.base == curves.base
    assert not again.higher_is_better("hamming")
    again.save(tmp_path / "again.parquet")
    assert same(fl.Curves.load(tmp_path / "again.parquet"), curves)
    assert not same(curves, run(graph, None, own_task(seed=2), metrics=NAMES))


def test_sweeps_over_parts_of_the_data_are_joined(graph: fl.ChannelGraph, tmp_path: Path):
    task = own_task()
    whole = run(graph, None, task, metrics=NAMES)
    for i in range(2):
        half = torch.utils.data.TensorDataset(*(tensor[20 * i : 20 * i + 20] for tensor in task.val.tensors))
        run(graph, None, replace(task, val=half), metrics=NAMES).save(tmp_path / f"{i}.parquet")
    one, other = (fl.Curves.load(tmp_path / f"{i}.parquet", task=task) for i in range(2))
    joined = one.merge(other)
    assert np.array_equal(joined.frame["samples"], whole.frame["samples"])
    for column in ("value", "low", "high"):
        assert joined.frame[column].to_numpy() == pytest.approx(whole.frame[column].to_numpy(), abs=1e-6)
    one, other = (fl.Curves.load(tmp_path / f"{i}.parquet") for i in range(2))
    with pytest.raises(ValueError, match=r"Curves.load\(path, task=task\)"):
        one.merge(other).frame  # noqa: B018


def test_the_same_name_for_another_metric_is_refused(graph: fl.ChannelGraph, tmp_path: Path):
    stop_after(graph, tmp_path, 1, task=own_task(), metrics=["f1"])
    other = own_task({"f1": lambda: MulticlassF1Score(3, average="micro")})
    with pytest.raises(ValueError, match="metric 'f1': stored .*average='macro'.*, now .*average='micro'"):
        run(graph, tmp_path, other, metrics=["f1"])


def test_plans_are_made_by_it(graph: fl.ChannelGraph):
    task = own_task({"auroc": OWN["auroc"], "hamming": OWN["hamming"]})
    curves = run(graph, None, task, metrics=["hamming"])
    plan = fl.allocate(graph, curves, macs=0.8, multiple=1)
    assert graph.cost(plan).macs <= 0.8 * graph.cost().macs
    table = fl.additivity(graph, curves, plan, task, batch_size=10)
    small = fl.prune(graph, plan)
    rise = everything(small, task, OWN["hamming"]()) - everything(graph.model, task, OWN["hamming"]())
    assert table[table.columns[6]].iloc[-1] == pytest.approx(rise, abs=1e-6)


# What will not do ----------------------------------------------------------------------------------------------------


class Mean(MulticlassAccuracy):
    """Has a state that is averaged."""

    def __init__(self) -> None:
        super().__init__(3)
        self.add_state("average_of_batches", torch.zeros(()), dist_reduce_fx="mean")


@pytest.mark.parametrize(
    ("metric", "error", "words"),
    [
        (PearsonCorrCoef, ValueError, r"'own' \(PearsonCorrCoef\) cannot be put together .* state '.*' is merged in"),
        (Mean, ValueError, "state 'average_of_batches' is merged in another way"),
        (lambda: 2 * OWN["f1"](), ValueError, "it consists of others, or has no state"),
        (lambda: MulticlassROC(3), ValueError, "does not say whether higher is better"),
        (lambda: "f1", TypeError, r"task.metrics\['own'\] must be a function that returns a torchmetrics metric; got"),
        (lambda: MulticlassF1Score(3, average=None), ValueError, "cannot give the metric 'own': .*scalar"),
        (lambda: MulticlassF1Score(7), ValueError, "cannot give the metric 'own'"),
    ],
)
def test_metrics_that_will_not_do_are_refused(graph: fl.ChannelGraph, metric: Callable, error: type, words: str):
    with pytest.raises(error, match=words):
        run(graph, None, own_task({"own": metric}), metrics=["own"])


def test_names_are_looked_up(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match="unknown metric 'f2': did you mean 'f1'"):
        run(graph, None, own_task(), metrics=["f2"])
    with pytest.raises(ValueError, match="'loss' has the name of one of the sweep's"):
        run(graph, None, own_task({"loss": OWN["f1"]}), metrics=["loss"])


def test_states_that_would_not_fit_are_refused(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match=r"would take .* GB, more than memory=3000: ask for fewer"):
        run(graph, None, own_task(), metrics=["auroc"], memory=3000)
    assert run(graph, None, own_task(), metrics=["loss"], memory=3000).complete


class SharedF1(MulticlassF1Score):
    share = True


def test_the_interval_of_a_share_ends_at_0_and_1(graph: fl.ChannelGraph):
    free, bounded = (
        run(graph, None, own_task({"f1": partial(kind, 3, average="macro")}, count=12), metrics=["f1"], batch_size=4)
        for kind in (MulticlassF1Score, SharedF1)
    )
    ends = free.frame[["value", "low", "high"]]
    assert ((ends["low"] < 0) | (ends["high"] > 1)).any()
    assert np.isfinite(ends).all(axis=None)
    assert bounded.frame[["value", "low", "high"]].to_numpy() == pytest.approx(ends.clip(0, 1).to_numpy())
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)
    assert forecast(graph, bounded, plan).half == pytest.approx(forecast(graph, free, plan).half)
    assert within((0.5, -math.inf, math.inf), share=True) == (0.5, -math.inf, math.inf)  # unknown, not all of it

"""Sweeps that really prune: as the simulated ones, and with recalibrated statistics as by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.sensitivity.replay import pruned
from tests.sensitivity.small import normed_model, normed_task, run, same, stop_after

METRICS = ["loss", "accuracy", "kl", "change"]


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    model = normed_model()
    fl.recalibrate(model, normed_task())
    return fl.trace(model.eval(), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_surgery_equals_the_simulation(resnet: nn.Module, fashion: fl.tasks.Classification, dtype: str):
    graph = fl.trace(resnet.train(), fashion.example_input)
    free = [name for name, group in graph.items() if group.protected is None]
    graph = fl.trace(resnet, fashion.example_input, protect=[name for name in free if name not in free[::4]])
    before = copy.deepcopy(resnet.state_dict())
    options = {"ratios": (0.3, 0.7), "max_samples": 40, "metrics": METRICS, "dtype": dtype, "progress": False}
    scores = fl.score(graph)
    simulated, real = (fl.sweep(graph, scores, fashion, surgery=surgery, **options) for surgery in (False, True))
    allowed = 1e-4 if dtype == "float32" else 0.1
    for column in ("value", "low", "high"):
        one, other = (curves.frame[column].to_numpy() for curves in (simulated, real))
        assert one == pytest.approx(other, rel=allowed, abs=allowed)
    assert not same(simulated, real)  # rounding tells that something else was done
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet.state_dict().items())
    assert all(module.training for module in resnet.modules())


def test_recalibrated_points_are_what_recalibrating_by_hand_gives(
    graph: fl.ChannelGraph, monkeypatch: pytest.MonkeyPatch
):
    task, scores, estimated = normed_task(), fl.score(graph, "l1"), []
    estimate = pruned.estimate
    monkeypatch.setattr(pruned, "estimate", lambda *args: [estimated.append(args[0]), estimate(*args)])
    curves = run(graph, None, task=task, recalibrate=2)
    assert len(estimated) == 4  # once for each of four points, not for each of four batches
    for (group, kept), point in curves.frame.groupby(["group", "kept"]):
        small = copy.deepcopy(graph.model)  # the reference, with the statistics that it has
        if kept < graph[group].channels:
            small = fl.prune(graph, fl.Plan.from_ratios(graph, scores, {group: 1 - kept / graph[group].channels}))
            fl.recalibrate(small, task, batches=2)
        expected = fl.evaluate(small, task)
        values = point.set_index("metric")["value"]
        assert values["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert values["accuracy"] == pytest.approx(expected["accuracy"])
    assert not same(curves, run(graph, None, task=task, surgery=True))


def test_recalibration_makes_up_for_stale_statistics(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    model = fl.models.load("resnet20-fashion")
    names = list(fl.trace(model, fashion.example_input))
    graph = fl.trace(model, fashion.example_input, protect=[name for name in names if name != "conv1"])
    options = {"ratios": (0.5,), "max_samples": 100, "progress": False}
    scores = fl.score(graph)
    stale, fresh = (fl.sweep(graph, scores, fashion, recalibrate=n, **options) for n in (0, 2))
    assert stale.base == pytest.approx(fresh.base, rel=1e-4)
    loss = {c: c.sums["conv1", 8, "loss"].value / 100 for c in (stale, fresh)}
    assert loss[stale] > stale.base["loss"] + 0.5
    assert loss[fresh] < (loss[stale] + fresh.base["loss"]) / 2


@pytest.mark.parametrize("options", [{"surgery": True}, {"recalibrate": 2}], ids=str)
def test_stopped_and_resumed_it_ends_the_same(graph: fl.ChannelGraph, tmp_path: Path, options: dict):
    whole = run(graph, None, normed_task(), **options)
    assert not stop_after(graph, tmp_path, 2, task=normed_task(), **options).complete
    assert same(run(graph, tmp_path, normed_task(), **options), whole)


def other_training_data(task: fl.tasks.Classification) -> fl.tasks.Classification:
    images, labels = (tensor.clone() for tensor in task.train.tensors)
    images += 1e-3
    return replace(task, train=TensorDataset(images, labels))


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ({}, {"surgery": True}, "surgery: stored False, now True"),
        ({"surgery": True}, {}, "surgery: stored True, now False"),
        ({"recalibrate": 1}, {"recalibrate": 2}, "recalibrate: stored 1, now 2"),
        ({"recalibrate": 1}, {"recalibrate": 1, "task": other_training_data(normed_task())}, "training data: stored"),
    ],
)
def test_another_mode_is_refused_by_name(graph: fl.ChannelGraph, tmp_path: Path, first: dict, then: dict, words: str):
    stop_after(graph, tmp_path, 1, **{"task": normed_task(), **first})
    with pytest.raises(ValueError, match=f"holds another sweep.*{words}"):
        run(graph, tmp_path, **{"task": normed_task(), **then})


def test_training_data_does_not_matter_without_recalibration(graph: fl.ChannelGraph, tmp_path: Path):
    stop_after(graph, tmp_path, 1, task=normed_task(), surgery=True)
    assert run(graph, tmp_path, other_training_data(normed_task()), surgery=True).complete

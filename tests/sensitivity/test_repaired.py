"""Sweeps of repaired points: as by hand, alike in every mode, and told from plain ones wherever they go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.common.inputs import inputs_of
from fpgmlab.sensitivity.replay.consumers import holding
from fpgmlab.sensitivity.replay.points import Point, points
from fpgmlab.sensitivity.replay.refits import Refits
from tests.recovery.repairing.test_attention import made
from tests.sensitivity.small import normed_model, normed_task, run, same, stop_after

REPAIR = {"repair": True, "repair_samples": 50}


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    model = normed_model()
    fl.fit(model, normed_task(), 2, lr=0.05, progress=False)
    return fl.trace(model.eval(), torch.zeros(1, 1, 8, 8))


@pytest.fixture(scope="module")
def curves(graph: fl.ChannelGraph) -> fl.Curves:
    return run(graph, None, normed_task(), **REPAIR)


def test_a_point_is_the_pruned_network_with_the_refitted_weights(graph: fl.ChannelGraph, curves: fl.Curves):
    task = normed_task()
    grid = points(graph, fl.score(graph, "l1"), (0.25, 0.5), 1)
    refits = Refits(graph, grid, inputs_of(task, 50))
    assert refits.read()
    values = curves.frame.set_index(["group", "kept", "metric"])["value"]
    for point in grid:
        with holding(graph.model, refits.tensors(point)):
            cut = fl.prune(graph, point.plan)
        expected = fl.evaluate(cut, task)
        assert values[point.group, point.kept, "loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert values[point.group, point.kept, "accuracy"] == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize("options", [{"surgery": True}, {"memory": 1e5}, {"dtype": "bfloat16"}], ids=str)
def test_other_ways_give_the_same(graph: fl.ChannelGraph, curves: fl.Curves, options: dict):
    allowed = 0.05 if "dtype" in options else 1e-4
    others = run(graph, None, normed_task(), **REPAIR, **options)
    for column in ("value", "low", "high"):
        assert others.frame[column].to_numpy() == pytest.approx(
            curves.frame[column].to_numpy(), rel=allowed, abs=allowed
        )


@pytest.mark.parametrize("name", ["vision", "decoder", "encoder, b=False, n=True", "encoder, b=True, n=False"])
def test_attentions_of_torch_are_repaired_as_surgery_is(name: str):
    graph, _, inputs = made(name)
    data = TensorDataset(inputs(64, 1), torch.arange(64) % 5)
    task = fl.tasks.Classification(train=data, val=data, classes=[str(i) for i in range(5)])
    scores, options = fl.score(graph), {"ratios": (0.25, 0.5), "multiple": 1, "max_samples": 32, "progress": False}
    options |= {"metrics": ["kl"], "repair_samples": 64}
    plain, repaired, cut = (
        fl.sweep(graph, scores, task, repair=repair, surgery=surgery, **options)
        for repair, surgery in ((False, False), (True, False), (True, True))
    )
    grid = points(graph, scores, (0.25, 0.5), 1)
    refits = Refits(graph, grid, inputs_of(task, 64))
    assert refits.read()
    heads = [point for point in grid if graph[point.group].unit_name == "head"]
    assert heads
    batch = data.tensors[0][:32]
    for point in grid:
        with holding(graph.model, refits.tensors(point)):
            small = fl.prune(graph, point.plan).eval()
        with torch.no_grad():
            whole, made_of = (network(batch).log_softmax(1) for network in (graph.model, small))
        by_hand = float((whole.exp() * (whole - made_of)).sum(1).mean())
        for curves in (repaired, cut):
            assert value(curves, point) == pytest.approx(by_hand, rel=1e-3, abs=1e-6)
    for point in heads:
        changed = refits.tensors(point)
        for layer in graph.layers:
            if layer.kind == "in_projection":
                assert {f"{layer.name}.in_proj_weight", f"{layer.name}.in_proj_bias"} <= set(changed)
        assert value(repaired, point) < value(plain, point)


def value(curves: fl.Curves, point: Point) -> float:
    return curves.frame.set_index(["group", "kept"])["value"][point.group, point.kept]


def test_repaired_points_lose_less(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    model = fl.models.load("resnet20-fashion")
    names = [name for name in fl.trace(model, fashion.example_input) if name != "layer2.0.conv2"]
    one = fl.trace(model, fashion.example_input, protect=names)
    options = {"ratios": (0.5,), "max_samples": 100, "metrics": ["agreement", "kl"], "progress": False}
    plain, repaired = (
        fl.sweep(one, fl.score(one), fashion, repair=repair, repair_samples=64, **options) for repair in (False, True)
    )
    agreement, kl = ({c: c.sums["layer2.0.conv2", 16, m].value for c in (plain, repaired)} for m in ("agreement", "kl"))
    assert agreement[plain] < 50
    assert agreement[repaired] > 90
    assert kl[repaired] < kl[plain] / 10


def test_recalibration_comes_after_the_repair(graph: fl.ChannelGraph, curves: fl.Curves):
    fresh = run(graph, None, normed_task(), **REPAIR, recalibrate=2)
    assert fresh.repaired
    assert not fresh.frame.equals(curves.frame)


@pytest.mark.parametrize("options", [{}, {"surgery": True}, {"tolerance": 0.15}], ids=str)
def test_stopped_and_resumed_it_ends_the_same(graph: fl.ChannelGraph, tmp_path: Path, options: dict):
    whole = run(graph, None, normed_task(), **REPAIR, **options)
    assert not stop_after(graph, tmp_path, 1, task=normed_task(), **REPAIR, **options).complete
    assert fl.Curves.load(tmp_path).repaired
    assert same(run(graph, tmp_path, normed_task(), **REPAIR, **options), whole)


def other_training_data(task: fl.tasks.Classification) -> fl.tasks.Classification:
    images, labels = (tensor.clone() for tensor in task.train.tensors)
    images += 1e-3
    return replace(task, train=TensorDataset(images, labels))


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ({}, REPAIR, "repair: stored None, now 50"),
        (REPAIR, {}, "repair: stored 50, now None"),
        (REPAIR, {**REPAIR, "repair_samples": 60}, "repair: stored 50, now 60"),
        (REPAIR, {**REPAIR, "task": other_training_data(normed_task())}, "pictures for the repair: stored"),
    ],
)
def test_another_repair_is_refused_by_name(graph: fl.ChannelGraph, tmp_path: Path, first: dict, then: dict, words: str):
    stop_after(graph, tmp_path, 1, **{"task": normed_task(), **first})
    with pytest.raises(ValueError, match=f"holds another sweep.*{words}"):
        run(graph, tmp_path, **{"task": normed_task(), **then})


def test_labels_do_not_matter(graph: fl.ChannelGraph, curves: fl.Curves):
    task = normed_task()
    images, labels = task.train.tensors
    assert same(run(graph, None, replace(task, train=TensorDataset(images, 0 * labels)), **REPAIR), curves)


def test_curves_remember_it(curves: fl.Curves, graph: fl.ChannelGraph, tmp_path: Path):
    curves.save(tmp_path / "curves.parquet")
    loaded = fl.Curves.load(tmp_path / "curves.parquet")
    assert same(loaded, curves)
    assert loaded.repaired
    assert loaded.frame.attrs["repaired"]
    assert repr(loaded).endswith("samples; repaired")
    plain = run(graph, None, normed_task())
    assert not plain.repaired
    with pytest.raises(ValueError, match="some of the sweeps are of repaired points, others of points as cut"):
        plain.merge(loaded)


def test_stopping_before_the_repair_leaves_nothing(graph: fl.ChannelGraph):
    calls = iter([False])
    curves = run(graph, None, normed_task(), **REPAIR, stop=lambda: next(calls, True))
    assert not curves.complete
    assert curves.repaired
    assert curves.frame.empty


def test_a_task_without_training_data_is_told_so(graph: fl.ChannelGraph):
    task = normed_task()
    vars(task)["train"] = TensorDataset(*(t[:0] for t in task.train.tensors))  # it would be refused at the beginning
    with pytest.raises(ValueError, match=r"Classification has no training data \(task.train is empty\)"):
        run(graph, None, task, **REPAIR)


def test_fewer_examples_than_asked_for_are_told(graph: fl.ChannelGraph):
    with pytest.warns(UserWarning, match=r"only \d+ of the 512 examples asked for are there"):
        run(graph, None, normed_task(), repair=True, repair_samples=512)


@pytest.mark.parametrize("count", [0, 1.5, True])
def test_numbers_of_examples_that_are_none_are_refused(graph: fl.ChannelGraph, count: object):
    with pytest.raises(ValueError, match=f"repair_samples must be a whole number of at least 1; got {count}"):
        run(graph, None, normed_task(), repair=True, repair_samples=count)

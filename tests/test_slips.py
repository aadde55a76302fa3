"""What comes naturally and is not quite so: it works, or the error says what was meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import fpgmlab as fl
from tests.allocation.made import curves_of, rising
from tests.conftest import blobs


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    torch.manual_seed(0)
    model = fl.models.build("resnet20", classes=3, channels=1, width=0.5)
    return fl.trace(model.eval(), torch.randn(1, 1, 12, 12))


@pytest.fixture(scope="module")
def curves(graph: fl.ChannelGraph) -> fl.Curves:
    return curves_of(graph, rising(graph, 0))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("layer1.0.conv2", "this layer's channels belong to group 'conv1'"),
        ("bn1", "this layer's channels belong to group 'conv1'"),
        ("layer1.0", "its layers belong to groups 'conv1', 'layer1.0.conv1'"),
        ("layer1.0.conv7", "did you mean 'layer1.0.conv1'?"),
    ],
)
def test_a_layer_is_told_its_group(graph: fl.ChannelGraph, curves: fl.Curves, name: str, words: str):
    for ask in (
        lambda: graph[name],
        lambda: fl.Plan.from_ratios(graph, curves.scores, {name: 0.5}),
        lambda: fl.allocate(graph, curves, macs=0.5, locked={name: 4}),
        lambda: fl.score(graph, groups=[name]),
    ):
        with pytest.raises((KeyError, ValueError)) as caught:
            ask()
        assert f"unknown group {name!r}: {words}" in caught.value.args[0]


@pytest.mark.parametrize(
    ("named", "groups"),
    [
        ("layer1.0.conv2", {"conv1"}),
        (["layer2.0", "conv1"], {"conv1", "layer2.0.conv1", "layer2.0.conv2"}),
        (["layer1.0.conv1"], {"layer1.0.conv1"}),
    ],
)
def test_plans_protect_layers_and_modules_as_a_trace_does(
    graph: fl.ChannelGraph, curves: fl.Curves, named: str | list[str], groups: set[str]
):
    traced = fl.trace(graph.model, graph.example_input, protect=named)
    assert groups == {n for n in graph if graph[n].protected is None and traced[n].protected is not None}
    ways = (
        fl.Plan.uniform(graph, curves.scores, 0.5, multiple=1, protect=named),
        fl.Plan.by_depth(graph, curves.scores, 0.5, 0.5, 0.5, multiple=1, protect=named),
        fl.allocate(graph, curves, macs=0.6, multiple=1, protect=named),
    )
    assert not any(plan.removed[name] for plan in ways for name in groups)
    assert ways[0].removed == fl.Plan.uniform(traced, curves.scores, 0.5, multiple=1).removed
    with pytest.raises(ValueError, match="protect: unknown group 'layer9': did you mean"):
        fl.Plan.uniform(graph, curves.scores, 0.5, protect=["layer9"])


def test_what_was_meant_is_said(graph: fl.ChannelGraph, curves: fl.Curves):
    plan = fl.Plan.uniform(graph, curves.scores, 0.5, multiple=1)
    task = fl.tasks.Classification(blobs(64), blobs(32, seed=1), classes=3)
    slips: list[tuple[Callable[[], object], str]] = [
        (lambda: fl.prune(graph.model, plan), r"not the network \(ResNet\): trace it once, graph = fl.trace\(model,"),
        (lambda: fl.score(graph.model, "fpgm"), "not the network"),
        (lambda: fl.sweep(graph.model, curves.scores, task), "not the network"),
        (lambda: fl.repair(graph.model, plan, task), "not the network"),
        (lambda: fl.allocate(graph.model, curves, macs=0.5), "not the network"),
        (lambda: fl.Plan.uniform(graph.model, curves.scores, 0.5), "not the network"),
        (lambda: fl.prune(plan, graph), "must be a graph, as fl.trace"),
        (lambda: fl.Plan.uniform(graph, "fpgm", 0.5), r"as fl.score\(graph, 'fpgm'\) gives"),
        (lambda: fl.Plan.global_threshold(graph, "bn_gamma", 0.5), r"as fl.score\(graph, 'bn_gamma'\) gives"),
        (lambda: fl.allocate(graph, curves.scores, macs=0.5), r"goes by curves, as fl.sweep.*got dict.*Plan.uniform"),
        (lambda: fl.figures.sensitivity_map(curves), "curves.frame, and unmeasurable=curves.unmeasurable"),
        (lambda: fl.figures.plan_bars(plan), r"plan.frame\(graph\)"),
    ]
    for slip, words in slips:
        with pytest.raises(TypeError, match=words):
            slip()


def test_what_python_or_a_library_would_say_is_said_in_words(graph: fl.ChannelGraph, tmp_path: Path):
    model, example = graph.model, graph.example_input
    slips: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: fl.compare_criteria(graph, "fpgm"), ValueError, r"at least two, each with a label .*got \['FPGM'\]"),
        (lambda: fl.trace(model, example.numpy()), TypeError, r"becomes a tensor by torch\.from_numpy\(array\)"),
        (lambda: fl.latency({"a": "no.onnx"}, example), FileNotFoundError, "'a': there is no file '.*/no.onnx'"),
        (
            lambda: fl.export_onnx(model, example, tmp_path / "a.onnx", notes="foo"),
            TypeError,
            "notes must be a dictionary, such as .*; got 'foo'",
        ),
        (lambda: fl.save(model, tmp_path / "a.pt"), ValueError, r"torch\.load cannot read.*Give '.*/a\.safetensors'"),
    ]
    for slip, error, words in slips:
        with pytest.raises(error, match=words):
            slip()
    assert not list(tmp_path.iterdir())


def test_one_in_the_place_of_the_other_is_told_as_what_it_is(graph: fl.ChannelGraph, curves: fl.Curves, tmp_path: Path):
    """In every public function that takes a network, a graph, a task, a plan or an example."""
    plan = fl.Plan.uniform(graph, curves.scores, 0.5, multiple=1)
    task = fl.tasks.Classification(blobs(64), blobs(32, seed=1), classes=3)
    model, x, file = graph.model, graph.example_input, str(tmp_path / "x.onnx")
    slips: list[tuple[Callable[[], object], str]] = [
        (lambda: fl.fit(task, model), r"model must be the network.*got the task \(Classif.*As in fl.fit\(model, task"),
        (lambda: fl.fit(graph, task), r"got the graph \(ChannelGraph\)\. Give graph.model"),
        (lambda: fl.fit(model, graph), r"task must be a task.*got the graph"),
        (lambda: fl.evaluate(task, model), r"got the task.*fl.evaluate\(model, task"),
        (lambda: fl.evaluate(model, plan), r"task must be .*got a plan \(Plan\)"),
        (lambda: fl.recalibrate(task, model), r"got the task.*fl.recalibrate\(model, task"),
        (lambda: fl.recalibrate(model, x), r"task must be .*got a Tensor \(1, 1, 12, 12\)"),
        (
            lambda: fl.prune_gradually(task, model, target={"macs": 0.5}),
            r"got the task.*fl.prune_gradually\(model, task, target=",
        ),
        (lambda: fl.trace(x, model), r"model must be the network.*got a Tensor \(1, 1, 12, 12\).*fl.trace\(model, ex"),
        (lambda: fl.trace(model, task), r"got the task \(Classification\)\. Give task.example_input"),
        (lambda: fl.trace(model, graph), r"got the graph.*Give graph.example_input"),
        (lambda: fl.trace(model, (1, 1, 12, 12)), r"That is a shape.*torch.zeros\(1, 1, 12, 12\)"),
        (lambda: fl.trace(model, x.shape), r"That is a shape"),
        (lambda: fl.trace(model, model), r"example_input must be .*got the network \(ResNet\)"),
        (lambda: fl.export_onnx(model, task, file), r"Give task.example_input"),
        (lambda: fl.export_onnx(model, [1, 1, 12, 12], file), r"That is a shape"),
        (lambda: fl.export_onnx(x, model, file), r"model must be the network.*got a Tensor"),
        (lambda: fl.export_onnx(graph, x, file), r"Give graph.model"),
        (lambda: fl.export_openvino(graph, x, str(tmp_path / "x.xml")), r"Give graph.model"),
        (lambda: fl.export_openvino(model, task, str(tmp_path / "x.xml")), r"Give task.example_input"),
        (lambda: fl.benchmark({"original": model}, task), r"Give task.example_input"),
        (lambda: fl.theory_and_practice(graph, model, x), r"Give graph.model"),
        (lambda: fl.save(file, model), r"model must be .*fl.save\(model, path"),
        (lambda: fl.prune(graph, 0.5), r"plan must be a plan, as fl.Plan.uniform.*got 0.5\."),
        (lambda: fl.prune(graph, task), r"got the task"),
        (
            lambda: fl.prune(graph, "plan.json"),
            r"got 'plan.json'\. A plan in a file is read with fl.Plan.from_json\('plan",
        ),
        (lambda: fl.simulate(graph, {"conv1": 0.5}).__enter__(), r"plan must be a plan.*got \{'conv1': 0.5\}"),
        (lambda: fl.agreement(graph, model), r"plan must be a plan.*got the network"),
        (lambda: graph.cost(model), r"plan must be a plan.*got the network \(ResNet\)"),
        (lambda: fl.allocation.predicted(graph, curves, task), r"plan must be a plan.*got the task"),
        (lambda: fl.allocation.predicted(model, curves, plan), "not the network"),
        (lambda: fl.additivity(model, curves, plan, task), "not the network"),
        (lambda: fl.repair(graph, task, plan), r"plan must be .*got the task.*fl.repair\(graph, plan, task"),
        (lambda: fl.repair(graph, 0.5, task), r"plan must be .*got 0.5"),
        (
            lambda: fl.sweep(graph, task, curves.scores),
            r"task must be .*the two are swapped.*fl.sweep\(graph, scores, task",
        ),
        (
            lambda: fl.evaluate(model, task.val),
            r"task must be .*A data set alone is none: give fl.tasks.Classification",
        ),
        (lambda: fl.fit(model, DataLoader(task.val)), r"A data set alone is none.*fl.fit\(model, task"),
        (
            lambda: fl.evaluate(file, task),
            r"model must be .*judged as fl.deployment.OnnxNetwork\('.*x.onnx'\)\. As in fl.ev",
        ),
        (lambda: fl.fit("small.safetensors", task), r"Read it with fl.load\('small.safetensors'\)"),
        (lambda: fl.sweep(graph, curves.scores, model), r"task must be .*got the network"),
        (lambda: fl.gammas(model), "not the network"),
        (lambda: fl.crosscheck(model), "not the network"),
        (lambda: fl.thresholds.floors(model, curves.scores), "not the network"),
        (lambda: fl.latency_table(model), "not the network"),
    ]
    for slip, words in slips:
        with pytest.raises(TypeError) as caught:
            slip()
        assert re.search(words, str(caught.value)), str(caught.value)


def test_a_budget_out_of_reach_says_the_least(graph: fl.ChannelGraph, curves: fl.Curves):
    with pytest.raises(
        ValueError, match=r"macs=0.001 cannot be reached: at least 0\.\d{4} of the macs remain"
    ) as caught:
        fl.Plan.uniform(graph, curves.scores, macs=0.001, multiple=1)
    least = float(str(caught.value).split("at least ")[1].split()[0])
    assert fl.Plan.uniform(graph, curves.scores, macs=least, multiple=1)


def test_another_number_of_outputs_says_how_to_replace_the_head():
    task = fl.tasks.Classification(blobs(64), blobs(32, seed=1), classes=3)
    model = fl.models.build("resnet20", classes=1000, channels=1, width=0.25)
    with pytest.raises(
        ValueError, match=r"Its 1000 outputs are not these 3 classes.*model\.fc = torch\.nn\.Linear"
    ) as caught:
        fl.evaluate(model, task)
    line = str(caught.value).split("such as ")[1].split("; ")[0]
    exec(line, {"model": model, "torch": torch})
    assert fl.evaluate(model, task)["samples"] == 32


def test_a_style_is_named(curves: fl.Curves):
    by_name = fl.figures.sensitivity_map(curves.frame, style="cvpr")
    assert by_name.get_figwidth() == fl.figures.style("cvpr")["figure.figsize"][0]
    pictures = fl.figures.pictures(torch.rand(3, 1, 4, 4), list("abc"), style="ieee")
    assert pictures.get_figwidth() == 3.5
    with pytest.raises(ValueError, match="venue must be one of"):
        fl.figures.sensitivity_map(curves.frame, style="cvrp")

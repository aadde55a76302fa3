"""What comes naturally and is not quite so: it works, or the error says what was meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

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

"""What the plan editor's browser side is given, evaluated in plain Python, against the kernel's own arithmetic."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fpgmlab as fl
from fpgmlab.allocation.forecast import forecast
from fpgmlab.deployment.machine import Machine
from fpgmlab.sensitivity.curves.intervals import Paired
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.payload import desk_payload
from fpgmlab.widgets.desk.steps import ends_of_steps
from tests.allocation.made import branches, chain, curves_of, rising
from tests.checks import random_plan
from tests.deployment.tables import by_stairs, made_up
from tests.networks import NETWORKS
from tests.surgery.made import build
from tests.widgets.desk.costs import costs_of, predicted_of

NAMES = ["densenet121", "googlenet", "mobilenet_v3_small", "regnet_y_400mf", "resnext50_32x4d", "shufflenet_v2_x0_5"]


def random_kept(graph: fl.ChannelGraph, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [
        rng.randint(1, group.channels // group.step) * group.step if group.protected is None else group.channels
        for group in graph.values()
    ]


def check_costs(graph: fl.ChannelGraph, seeds: range) -> None:
    scores = fl.score(graph, "random")
    curves, bars = curves_of(graph, rising(graph, 0), scores=scores), Bars(graph, scores, None)
    desk = json.loads(json.dumps(desk_payload(graph, curves, scores), allow_nan=False))
    for seed in seeds:
        kept = random_kept(graph, seed)
        plan, found = bars.plan(kept), costs_of(desk, kept)
        cost = graph.cost(plan)
        assert (found["macs"], found["params"], found["bytes"]) == (cost.macs, cost.params, cost.bytes)
        assert bars.kept(plan) == kept
        other = bars.whole(random_plan(graph, seed))  # channels that do not follow the scores
        bars.remember(other)
        cost, found = graph.cost(other), costs_of(desk, bars.kept(other), bars.chosen)
        assert (found["macs"], found["params"], found["bytes"]) == (cost.macs, cost.params, cost.bytes)
        assert bars.plan(bars.kept(other)) == other


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_costs_of_every_kind_of_connection(network):
    check_costs(fl.trace(network.build(), network.inputs()), range(4))


@pytest.mark.parametrize("name", NAMES)
def test_costs_of_torchvisions_networks(name: str):
    model, example = build(name)
    check_costs(fl.trace(model, example), range(2))


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_costs_of_any_plan(seed: int):
    check_costs(branches(), range(seed, seed + 1))


def test_macs_by_group_are_those_of_the_layers_that_make_its_channels():
    graph = chain(6, 9, 5)  # on 6x6 pictures
    scores = fl.score(graph, "l1")
    desk = desk_payload(graph, curves_of(graph, rising(graph, 0)), scores)
    assert costs_of(desk, [6, 9, 5, 3])["groups"] == [36 * 9 * 6, 36 * 9 * 6 * 9, 36 * 9 * 9 * 5, 5 * 3]
    assert costs_of(desk, [2, 4, 5, 3])["groups"] == [36 * 9 * 2, 36 * 9 * 2 * 4, 36 * 9 * 4 * 5, 5 * 3]


def test_what_a_group_says_of_itself(graph: fl.ChannelGraph):
    desk = desk_payload(graph, curves_of(graph, rising(graph, 0)), fl.score(graph), max_ratio=0.4)
    for told, (name, group) in zip(desk["groups"], graph.items(), strict=True):
        assert (told["name"], told["channels"], told["step"]) == (name, group.channels, group.step)
        assert (told["filters"], told["many"]) == (1, "channels")
        assert (told["protected"], told["producers"]) == (group.protected, list(group.producers))
        assert told["least"] == math.ceil(0.6 * group.channels)
    assert [g["stage"] for g in desk["groups"]][:3] == ["conv1", "layer1", "layer1"]


# Curves -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_predictions_are_those_of_the_curves(graph: fl.ChannelGraph, metric: str):
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 1).items()}
    curves = curves_of(graph, drops, metric)
    curves = replace(curves, sums={key: replace(p, square=2 * p.square) for key, p in curves.sums.items()})
    desk, bars = desk_payload(graph, curves, curves.scores), Bars(graph, curves.scores, None)
    rng = random.Random(0)
    for _ in range(30):
        kept = [rng.randint(min(drops[n]), g.channels) if n in drops else g.channels for n, g in graph.items()]
        plan = bars.plan(kept)
        value, half, unknown = predicted_of(desk, metric, kept)
        total = fl.allocation.predicted(graph, curves, plan, metric)["predicted"].sum()
        base = curves.base[metric]
        assert value == pytest.approx(max(0.0, base - total) if metric == "accuracy" else base + total, abs=1e-6)
        found = forecast(graph, curves, plan, metric)
        assert (found.value, found.half) == pytest.approx((value, half), abs=1e-6)
        assert unknown == list(found.unknown) == []
        assert half > 0


def test_groups_without_a_curve_say_so(graph: fl.ChannelGraph):
    drops = rising(graph, 0)
    del drops["layer1.0.conv1"]
    curves = curves_of(graph, drops, changes={**dict.fromkeys(drops, 1.0), "conv1": 0.0})
    desk = desk_payload(graph, curves, curves.scores)
    (metric,) = desk["metrics"]
    missing = [g["name"] for g, curve in zip(desk["groups"], metric["curves"], strict=True) if curve is None]
    assert missing == ["conv1", "layer1.0.conv1", "fc"]
    assert [g["name"] for g, is_ in zip(desk["groups"], metric["unmeasurable"], strict=True) if is_] == ["conv1"]
    kept = [max(1, group.channels // 20) if group.protected is None else group.channels for group in graph.values()]
    value, half, unknown = predicted_of(desk, "kl", kept)
    found = forecast(graph, curves, Bars(graph, curves.scores, None).plan(kept), "kl")
    assert list(found.unknown) == unknown == list(graph)[:-1]  # all lie beyond what was measured
    assert (found.value, found.half) == pytest.approx((value, half), rel=1e-6)


def test_values_that_are_no_numbers_never_reach_the_browser(graph: fl.ChannelGraph):
    drops, nan = rising(graph, 0), float("nan")
    curves = curves_of(graph, drops)
    last, first = min(drops["layer2.0.conv1"]), max(drops["layer2.1.conv1"])
    sums = dict(curves.sums)
    for name, kept, value in (("layer2.0.conv1", last, nan), ("layer2.1.conv1", first, math.inf)):
        sums[name, kept, "kl"] = replace(sums[name, kept, "kl"], value=value)
    broken = replace(curves, sums=sums)
    desk = json.loads(json.dumps(desk_payload(graph, broken, curves.scores), allow_nan=False))
    found = dict(zip(graph, desk["metrics"][0]["curves"], strict=True))
    assert found["layer2.0.conv1"]["kept"] == [32, *sorted(drops["layer2.0.conv1"], reverse=True)][:-1]
    assert found["layer2.1.conv1"] is None
    nothing = replace(curves, whole={"kl": Paired(10, nan, nan, nan)})
    assert desk_payload(graph, nothing, curves.scores)["metrics"] == []
    one = replace(curves, sums={key: Paired(1, 0.5, 0.1, 0.16) for key in curves.sums})  # endless intervals
    desk = json.loads(json.dumps(desk_payload(graph, one, curves.scores), allow_nan=False))
    assert desk["metrics"][0]["curves"][0]["low"][1:] == [None] * (len(drops["conv1"]))


def test_curves_of_another_network_are_refused(graph: fl.ChannelGraph):
    other = curves_of(chain(8), {"0": {4: 0.1}})
    with pytest.raises(ValueError, match="the curves are of another network: unknown group '0'"):
        desk_payload(graph, other, fl.score(graph))


def test_latencies_are_those_of_the_table():
    graph = chain(6, 9, 5)
    table = made_up(graph, seed=2)
    alone = {name: replace(layer, beside=()) for name, layer in table.layers.items()}  # as layers of a chain are
    table = replace(table, layers=alone)
    scores = fl.score(graph, "l1")
    desk, bars = (
        desk_payload(graph, curves_of(graph, rising(graph, 0)), scores, table=table),
        Bars(graph, scores, table),
    )
    json.dumps(desk, allow_nan=False)
    for seed in range(20):
        kept = random_kept(graph, seed)
        z, total = [*kept, 1], desk["latency"]["overhead"]
        for layer in desk["latency"]["layers"]:
            i, o = (sum(each * z[cell] for cell, each in layer[side]) for side in ("inputs", "outputs"))
            total += by_hand(desk["latency"]["kernels"][layer["kernel"]], layer, i, o)
        assert bars.totals(bars.plan(kept))["latency"] == pytest.approx(total, rel=1e-6)


def by_hand(kernel: dict, layer: dict, inputs: int, outputs: int) -> float:
    """Return a layer's milliseconds; in a chain nothing lies beside it."""
    quick = inputs % kernel["alignment"][0] == 0 and outputs % kernel["alignment"][1] == 0
    i, o = (
        np.interp(
            n if n < side["block"] else side["block"] * math.ceil(n / side["block"]), side["counts"], side["units"]
        )
        for side, n in zip(kernel["aligned" if quick else "odd"], (inputs, outputs), strict=True)
    )
    a, b, c, d, e = layer["weights"][:5] if quick else layer["weights"][5:]
    return a + b * i + c * o + d * i * o + e * outputs / 64 * (outputs % layer["layout"] != 0)


def test_curves_as_cut_are_another_background(graph: fl.ChannelGraph):
    repaired = curves_of(graph, rising(graph, 0), "accuracy", repaired=True)
    cut, other = curves_of(graph, rising(graph, 1), "accuracy"), curves_of(graph, rising(graph, 1), "kl")
    desk = desk_payload(graph, repaired, repaired.scores, as_cut=cut)
    (alone,) = desk_payload(graph, cut, repaired.scores)["metrics"]
    (both,) = desk["metrics"]
    assert both["as_cut"] == {name: value for name, value in alone.items() if name != "as_cut"}
    assert both["curves"] != both["as_cut"]["curves"]
    assert alone["as_cut"] is None
    assert desk_payload(graph, repaired, repaired.scores, as_cut=other)["metrics"][0]["as_cut"] is None
    json.dumps(desk, allow_nan=False)


def test_curves_as_cut_are_that_and_of_this_network(graph: fl.ChannelGraph):
    cut = curves_of(graph, rising(graph, 0))
    repaired = curves_of(graph, rising(graph, 0), repaired=True)
    for curves, as_cut, words in (
        (repaired, repaired, "as_cut must be curves of points as cut; these are of repaired points"),
        (cut, cut, "as_cut goes beside curves of repaired points; the curves are as cut already"),
        (repaired, curves_of(chain(8), {"0": {4: 0.1}}), "as_cut: the curves are of another network: unknown group"),
    ):
        with pytest.raises(ValueError, match=words):
            desk_payload(graph, curves, curves.scores, as_cut=as_cut)
    with pytest.raises(ValueError, match="as_cut goes beside"):
        fl.widgets.PlanEditor(graph, cut, as_cut=cut)


# Steps --------------------------------------------------------------------------------------------------------------


def test_steps_are_those_of_the_table():
    graph = chain(12, 9, 4)
    scores = fl.score(graph, "l1")
    steps = ends_of_steps(graph, scores, by_stairs(graph))
    assert list(steps.values()) == [[4, 8, 12], [4, 8, 9], [4]]
    assert ends_of_steps(graph, scores, by_stairs(graph), max_ratio=0.5)["0"] == [8, 12]
    groups = desk_payload(graph, curves_of(graph, {}), scores, table=by_stairs(graph))["groups"]
    assert [group["steps"] for group in groups] == [*steps.values(), None]  # the last is protected
    assert [group["steps"] for group in desk_payload(graph, curves_of(graph, {}), scores)["groups"]] == [None] * 4


@pytest.mark.parametrize("seed", range(4))
def test_plans_by_milliseconds_keep_to_the_steps(graph: fl.ChannelGraph, seed: int):
    table, curves = made_up(graph, seed), curves_of(graph, rising(graph, seed))
    steps = ends_of_steps(graph, curves.scores, table)
    plan = fl.allocate(graph, curves, latency=0.9, table=table)
    assert any(plan.removed.values())
    assert all(plan.kept[name] in counts for name, counts in steps.items())


def test_a_layers_milliseconds_are_those_of_the_group_that_it_makes():
    graph = branches()
    layers = desk_payload(graph, curves_of(graph, {}), fl.score(graph), table=made_up(graph))["latency"]["layers"]
    names = list(graph)
    owners = [names[layer["group"]] for layer in layers]
    assert owners == ["stem", "inner", "stem", "side", "side", "join", "head"]  # the depthwise one with the one before


def test_a_deep_network_is_a_small_payload():
    model, example = build("resnet152")
    graph = fl.trace(model, example)
    drops = {n: {max(1, g.channels // 2): 0.1} for n, g in graph.items() if g.protected is None}
    curves = curves_of(graph, drops, "accuracy", scores={n: torch.rand(g.channels) for n, g in graph.items()})
    assert len(json.dumps(desk_payload(graph, curves, curves.scores), allow_nan=False)) < 200_000


def test_a_table_of_another_machine_says_so():
    graph = chain(12, 9, 4)
    table = by_stairs(graph)
    here = replace(table, machine=Machine.here(table.runtime, table.machine.threads))
    there = replace(table, machine=replace(here.machine, processor="Abacus 9000"))
    found = [
        desk_payload(graph, curves_of(graph, {}), fl.score(graph), table=each)["latency"]["elsewhere"]
        for each in (here, there)
    ]
    assert found[0] is None
    assert "processor 'Abacus 9000' there" in str(found[1])

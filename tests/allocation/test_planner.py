"""The planner held against every plan that there is, and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
import torchvision

import fpgmlab as fl
from fpgmlab.allocation.problem import problem
from fpgmlab.plans.rounding import allowed_kept
from tests.allocation.made import branches, chain, curves_of, loss_of, rising


def share(graph: fl.ChannelGraph, plan: fl.Plan, kind: str = "macs") -> float:
    return getattr(graph.cost(plan), kind) / getattr(graph.cost(), kind)


def every_plan(graph: fl.ChannelGraph, drops: dict, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return cost and degradation of all plans whose numbers of channels were all measured."""
    names = list(drops)
    options = [{graph[name].channels: 0.0, **drops[name]} for name in names]
    costs, losses = [], []
    for kept in product(*options):
        removed = {n: tuple(range(graph[n].channels - k)) for n, k in zip(names, kept, strict=True)}
        plan = fl.Plan({n: g.channels for n, g in graph.items()}, removed)
        costs.append(getattr(graph.cost(plan), kind))
        losses.append(sum(table[k] for table, k in zip(options, kept, strict=True)))
    return np.array(costs) / getattr(graph.cost(), kind), np.array(losses)


@pytest.mark.parametrize("kind", ["macs", "bytes"])
@pytest.mark.parametrize("make", [lambda: chain(6, 9, 5, 7), branches], ids=["chain", "branches"])
def test_hardly_worse_than_the_best_of_all_plans(make: Callable[[], fl.ChannelGraph], kind: str):
    graph, gaps = make(), []
    for seed in range(3):
        drops = rising(graph, seed)  # every number of channels is measured
        costs, losses = every_plan(graph, drops, kind)
        curves = curves_of(graph, drops)
        for budget in (0.85, 0.7, 0.55, 0.4, 0.25):
            plan = fl.allocate(graph, curves, multiple=1, **{kind: budget})
            assert share(graph, plan, kind) <= budget
            best = losses[costs <= budget].min()
            gaps.append(loss_of(graph, curves, plan) / best - 1)
    assert min(gaps) > -1e-9  # the oracle is one
    assert np.mean(gaps) < 0.01
    assert max(gaps) < 0.15


@pytest.mark.parametrize("name", [
    *("resnet18", "regnet_y_400mf"),
    *(pytest.param(n, marks=pytest.mark.slow) for n in ("mobilenet_v2", "densenet121", "googlenet")),
])  # fmt: skip
def test_costs_of_choices_are_those_of_the_graph(name: str):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    graph = fl.trace(getattr(torchvision.models, name)(num_classes=5, **options).eval(), torch.randn(1, 3, 64, 64))
    scores = fl.score(graph, "random")
    free = {n: np.array(allowed_kept(g))[::-1] for n, g in graph.items() if g.protected is None}
    tables = {n: (kept, np.zeros(len(kept))) for n, kept in free.items()}
    for kind in ("macs", "params", "bytes"):
        case = problem(graph, scores, tables, graph.costs.form(kind))
        rng = np.random.default_rng(0)
        choices = np.stack([rng.integers(0, len(kept), 5) for kept in free.values()], axis=1)
        costs = case.costs(choices)
        for choice, cost in zip(choices, costs, strict=True):
            assert cost == pytest.approx(share(graph, case.plan(graph, scores, choice), kind), rel=1e-12)
        _, changed = case.moves(choices)
        groups, into = case.changes
        for move in rng.integers(0, len(groups), 10):
            other = choices.copy()
            other[:, groups[move]] = into[move]
            assert changed[:, move] == pytest.approx(case.costs(other) - costs, abs=1e-12)


@pytest.mark.parametrize("kind", ["macs", "params"])
def test_a_larger_budget_never_predicts_worse_and_is_used(graph: fl.ChannelGraph, kind: str):
    curves = curves_of(graph, rising(graph, 3))
    last = np.inf
    for budget in np.linspace(0.2, 1, 9):
        plan = fl.allocate(graph, curves, multiple=2, **{kind: budget})
        assert budget - 0.01 < share(graph, plan, kind) <= budget
        assert loss_of(graph, curves, plan) <= last + 1e-12
        last = loss_of(graph, curves, plan)
    assert last == 0


def test_a_harmless_removal_is_no_reason_to_fall_below_the_budget(graph: fl.ChannelGraph):
    free = {name: 0.0 if g.channels == 64 else 1.0 for name, g in graph.items() if g.protected is None}
    curves = curves_of(graph, {n: {k: d * (8 - k / graph[n].channels * 8) for k in (8,)} for n, d in free.items()})
    plan = fl.allocate(graph, curves, macs=0.9, multiple=8)
    assert loss_of(graph, curves, plan) == 0
    assert 0.88 < share(graph, plan) <= 0.9


def test_the_same_plan_each_time(graph: fl.ChannelGraph):
    curves = curves_of(graph, rising(graph, 1))
    assert fl.allocate(graph, curves, macs=0.5, multiple=8) == fl.allocate(graph, curves, macs=0.5, multiple=8)


def test_what_hurts_less_goes_first():
    graph = chain(16, 16)
    curves = curves_of(graph, {"0": {8: 1.0}, "2": {8: 0.1}})
    plan = fl.allocate(graph, curves, params=0.7, multiple=8)
    assert plan.kept == {"0": 16, "2": 8, "6": 3}
    order = torch.argsort(curves.scores["2"])[:8].tolist()
    assert plan.removed["2"] == tuple(sorted(order))


def test_limits_are_kept(graph: fl.ChannelGraph):
    drops = {n: {k: 0.1 * (1 - k / g.channels) for k in (8, 16, 32) if g.channels / 2 <= k < g.channels}
             for n, g in graph.items() if g.protected is None}  # fmt: skip
    curves = curves_of(graph, drops)
    least = fl.allocate(graph, curves, macs=0.35, multiple=8)
    assert all(ratio <= 0.5 for ratio in least.ratios.values())  # no more was measured
    assert all(kept % 8 == 0 for name, kept in least.kept.items() if graph[name].protected is None)
    plan = fl.allocate(graph, curves, macs=0.75, multiple=4, max_ratio=0.25, protect=["layer2.0.conv2"])
    assert plan.ratios["layer2.0.conv2"] == 0
    assert 0 < max(plan.ratios.values()) <= 0.25
    assert all(kept % 4 == 0 for name, kept in plan.kept.items() if graph[name].protected is None)
    assert fl.allocate(graph, curves, macs=0.75, protect="conv1", multiple=8).ratios["conv1"] == 0


def test_without_any_measurable_effect_is_not_free(graph: fl.ChannelGraph):
    drops = rising(graph, 0)
    drops["layer3.0.conv2"] = dict.fromkeys(drops["layer3.0.conv2"], 0.0)
    still = curves_of(graph, drops, changes={**dict.fromkeys(drops, 1.0), "layer3.0.conv2": 0.0})
    assert still.unmeasurable == ("layer3.0.conv2",)
    assert fl.allocate(graph, still, macs=0.6, multiple=8).ratios["layer3.0.conv2"] == 0
    assert fl.allocate(graph, curves_of(graph, drops), macs=0.6, multiple=8).ratios["layer3.0.conv2"] > 0
    none = curves_of(graph, drops, changes=dict.fromkeys(drops, 0.0))
    assert fl.allocate(graph, none, macs=1.0, multiple=8) == fl.Plan({n: g.channels for n, g in graph.items()}, {})


def test_as_many_channels_go_from_each_block():
    torch.manual_seed(0)
    model = torchvision.models.regnet_x_400mf(num_classes=5).eval()
    graph = fl.trace(model, torch.randn(1, 3, 64, 64))
    assert any(g.blocks for g in graph.values() if g.protected is None)
    plan = fl.allocate(graph, curves_of(graph, rising(graph, 0)), macs=0.6, multiple=8)
    assert 0.57 < share(graph, plan) <= 0.6
    assert fl.agreement(graph, plan) < 1e-4


def test_scores_can_be_others(graph: fl.ChannelGraph):
    curves = curves_of(graph, rising(graph, 0))
    other = fl.score(graph, "l2")
    plan = fl.allocate(graph, curves, scores=other, macs=0.5, multiple=8)
    assert plan.kept == fl.allocate(graph, curves, macs=0.5, multiple=8).kept
    assert plan == fl.Plan.from_ratios(graph, other, plan.ratios)


def test_a_swept_network_is_pruned_as_planned(tiny: torch.nn.Module, task: fl.tasks.Classification):
    graph = fl.trace(tiny, task.example_input)
    curves = fl.sweep(graph, fl.score(graph), task, metrics=("agreement", "loss"), max_samples=60, progress=False)
    plan = fl.allocate(graph, curves, params=0.6, multiple=1)
    small = fl.prune(graph, plan)
    assert sum(p.numel() for p in small.parameters()) <= 0.6 * sum(p.numel() for p in tiny.parameters())
    assert fl.allocate(graph, curves, params=0.6, multiple=1, metric="agreement") == plan  # the default
    swapped = curves.merge(curves)
    assert all(torch.equal(swapped.scores[n], s) for n, s in curves.scores.items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give exactly one budget of macs, params, bytes, latency; got none"),
        ({"macs": 0.5, "params": 0.5}, "exactly one budget"),
        ({"macs": 0}, "0 < macs <= 1; got 0"),
        ({"bytes": 1.1}, "0 < bytes <= 1; got 1.1"),
        ({"macs": float("nan")}, "0 < macs <= 1; got nan"),
        ({"latency": 0.5}, "latency= needs table="),
        ({"macs": 0.5, "metric": "accuracy"}, "the curves do not have it: unknown metric 'accuracy'.*'kl'"),
        ({"macs": 0.5, "max_ratio": 1.5}, "max_ratio must lie between 0 and 1; got 1.5"),
        ({"macs": 0.5, "multiple": 0}, "multiple must be a whole number of at least 1; got 0"),
        ({"macs": 0.5, "protect": ["conv"]}, "protect: unknown group 'conv': did you mean 'conv1'"),
        ({"macs": 0.01}, r"macs=0.01 cannot be reached: at least 0.\d+ of the macs remain"),
    ],
)
def test_bad_requests_are_named(graph: fl.ChannelGraph, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        fl.allocate(graph, curves_of(graph, rising(graph, 0)), **{"multiple": 8, **options})


def test_the_smallest_reachable_budget_is_reachable(graph: fl.ChannelGraph):
    curves = curves_of(graph, rising(graph, 0))
    with pytest.raises(ValueError, match="cannot be reached") as error:
        fl.allocate(graph, curves, macs=0.001, multiple=8)
    least = float(str(error.value).split("at least ")[1].split(" ")[0])
    assert least - 1e-4 <= share(graph, fl.allocate(graph, curves, macs=least, multiple=8)) <= least


def test_curves_that_do_not_fit_are_refused(graph: fl.ChannelGraph):
    drops = rising(graph, 0)
    with pytest.raises(ValueError, match="the curves have no rows"):
        fl.allocate(graph, fl.Curves({}, {}, {}, {}), macs=0.5, multiple=8)
    with pytest.raises(ValueError, match="curves are of another network: unknown group '0'"):
        fl.allocate(graph, curves_of(chain(8), {"0": {4: 0.1}}), macs=0.5, multiple=8)
    with pytest.raises(ValueError, match="group 'conv1' has 16 channels here, 17 in the curves"):
        fl.allocate(
            graph,
            curves_of(graph, drops, widths={**{n: graph[n].channels for n in drops}, "conv1": 17}),
            macs=1,
            multiple=8,
        )
    with pytest.raises(ValueError, match="do not hold the scores they were made with: give scores="):
        fl.allocate(graph, curves_of(graph, drops, scores={}), macs=0.5, multiple=8)


# Groups whose number of channels is decided already -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["macs", "bytes"])
def test_hardly_worse_than_the_best_of_all_plans_around_locked_groups(kind: str):
    gaps = []
    for seed in range(3):
        graph = chain(6, 9, 5, 7)
        drops = rising(graph, seed)
        held = {"2": 4, "6": 7}
        curves = curves_of(graph, drops)
        costs, losses = [], []
        for first, second in product([6, *drops["0"]], [5, *drops["4"]]):
            kept = {"0": first, "2": 4, "4": second, "6": 7}
            removed = {n: tuple(range(graph[n].channels - k)) for n, k in kept.items()}
            plan = fl.Plan({n: g.channels for n, g in graph.items()}, removed)
            costs.append(share(graph, plan, kind))
            losses.append({6: 0.0, **drops["0"]}[first] + {5: 0.0, **drops["4"]}[second])
        for budget in (0.7, 0.55, 0.4):
            plan = fl.allocate(graph, curves, multiple=1, locked=held, **{kind: budget})
            assert (plan.kept["2"], plan.kept["6"]) == (4, 7)
            assert share(graph, plan, kind) <= budget
            best = np.array(losses)[np.array(costs) <= budget].min()
            found = loss_of(graph, curves, plan) - drops["2"][4]
            gaps.append(found - best)
    assert min(gaps) > -1e-9  # the oracle is one
    assert np.mean(gaps) < 0.01


def test_locked_groups_keep_the_channels_with_the_highest_scores(graph: fl.ChannelGraph):
    curves = curves_of(graph, rising(graph, 0))
    held = {"conv1": 5, "layer2.0.conv2": 32, "fc": 10}  # 5: no multiple of 8
    plan = fl.allocate(graph, curves, macs=0.6, locked=held, multiple=8)
    assert {name: plan.kept[name] for name in held} == held
    assert plan.removed["conv1"] == fl.Plan.from_ratios(graph, curves.scores, {"conv1": 11 / 16}).removed["conv1"]
    every = fl.allocate(graph, curves, macs=0.9, locked=plan.kept, multiple=8)  # nothing is left to choose
    assert every == plan
    drops = rising(graph, 0)
    del drops["conv1"]  # a group without a curve can be locked, too
    assert fl.allocate(graph, curves_of(graph, drops), macs=0.6, locked={"conv1": 5}, multiple=8).kept["conv1"] == 5


@pytest.mark.parametrize("rule", [fl.allocate, fl.allocation.equal_loss])
@pytest.mark.parametrize(
    ("locked", "words"),
    [
        ({"conv": 5}, "locked: unknown group 'conv': did you mean 'conv1'"),
        ({"conv1": 0}, "locked: group 'conv1' can keep from 1 to 16 channels; got 0"),
        ({"conv1": 17}, "locked: group 'conv1' can keep from 1 to 16 channels; got 17"),
        ({"fc": 9}, "locked: group 'fc' is protected .*: it keeps all 10"),
        ({"conv1": 16, "layer3.0.conv2": 64, "layer2.0.conv2": 32, "layer3.1.conv1": 64}, "cannot be reached"),
    ],
)
def test_locks_that_cannot_be(graph: fl.ChannelGraph, rule: Callable, locked: dict, words: str):
    with pytest.raises(ValueError, match=words):
        rule(graph, curves_of(graph, rising(graph, 0), "accuracy"), macs=0.2, locked=locked)


def test_locked_groups_in_blocks():
    model = torchvision.models.regnet_x_400mf(num_classes=5).eval()
    graph = fl.trace(model, torch.randn(1, 3, 64, 64))
    name, group = next((n, g) for n, g in graph.items() if g.step > 1 and g.protected is None)
    curves = curves_of(graph, rising(graph, 0))
    with pytest.raises(ValueError, match=f"can keep a multiple of {group.step} from {group.step} to"):
        fl.allocate(graph, curves, macs=0.6, locked={name: group.step + 1}, multiple=8)
    plan = fl.allocate(graph, curves, macs=0.6, locked={name: group.step}, multiple=8)
    assert plan.kept[name] == group.step
    assert fl.agreement(graph, plan) < 1e-4

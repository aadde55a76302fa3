"""Where answers do not change, what else changes decides, against every plan that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

import fpgmlab as fl
from tests.allocation.made import branches, chain, curves_of, loss_of, rising
from tests.allocation.test_planner import every_plan, share

Drops = Mapping[str, Mapping[int, float]]


def both(graph: fl.ChannelGraph, agreement: Drops, kl: Drops) -> fl.Curves:
    one, two = curves_of(graph, agreement, "agreement"), curves_of(graph, kl, "kl")
    return replace(one, sums={**one.sums, **two.sums}, whole={**one.whole, **two.whole})


def flat(drops: Drops, from_loss: float = np.inf) -> dict[str, dict[int, float]]:
    """Return drops of the answers: none up to some loss, a tenth of it beyond."""
    return {name: {k: 0.1 * max(0.0, d - from_loss) for k, d in points.items()} for name, points in drops.items()}


@pytest.mark.parametrize("make", [lambda: chain(6, 9, 5, 7), branches], ids=["chain", "branches"])
def test_of_plans_that_change_no_answer_the_gentlest_is_taken(make: Callable[[], fl.ChannelGraph]):
    graph, gaps = make(), []
    for seed in range(3):
        drops = rising(graph, seed)
        costs, losses = every_plan(graph, drops, "macs")
        for budget in (0.8, 0.6, 0.4):
            plan = fl.allocate(graph, both(graph, flat(drops), drops), macs=budget, multiple=1)
            assert share(graph, plan) <= budget
            gaps.append(loss_of(graph, curves_of(graph, drops), plan) / losses[costs <= budget].min() - 1)
    assert min(gaps) > -1e-9
    assert np.mean(gaps) < 0.02


def test_where_answers_change_they_alone_decide():
    graph = chain(6, 9, 5, 7)
    for seed in range(3):
        drops, other = rising(graph, seed), rising(graph, seed + 10)
        answers = flat(drops, from_loss=0.3)
        costs, losses = every_plan(graph, answers, "macs")
        _, finer = every_plan(graph, other, "macs")
        alone, together = curves_of(graph, answers, "agreement"), both(graph, answers, other)
        for budget in (0.8, 0.6, 0.4):
            plan = fl.allocate(graph, together, macs=budget, multiple=1)
            found = loss_of(graph, alone, plan)
            assert found <= loss_of(graph, alone, fl.allocate(graph, alone, macs=budget, multiple=1)) + 1e-9
            equals = (costs <= budget) & (losses <= found + 1e-9)
            assert loss_of(graph, curves_of(graph, other), plan) <= 1.1 * finer[equals].min() + 1e-9


def test_without_ties_nothing_changes():
    graph = chain(6, 9, 5, 7)
    answers = {name: {k: 0.02 * d for k, d in points.items()} for name, points in rising(graph, 0).items()}
    for budget in (0.8, 0.6, 0.4):
        alone = fl.allocate(graph, curves_of(graph, answers, "agreement"), macs=budget, multiple=1)
        assert fl.allocate(graph, both(graph, answers, rising(graph, 5)), macs=budget, multiple=1) == alone

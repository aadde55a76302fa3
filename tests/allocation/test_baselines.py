"""Equal loss: one threshold for all groups."""

from __future__ import annotations

import numpy as np
import pytest

import fpgmlab as fl
from fpgmlab.allocation.baselines import ratio_at
from fpgmlab.allocation.degradation import Degradation
from tests.allocation.made import chain, curves_of, rising


def test_the_largest_ratio_below_a_threshold():
    measured = np.array([0, 0.1, 0.05, 0.3])
    curve = Degradation(np.array([10, 8, 6, 2]), measured, measured)
    assert ratio_at(curve, 0.0) == 0
    assert ratio_at(curve, 0.05) == pytest.approx(0.4)  # beyond a worse point: the curves are taken as measured
    assert ratio_at(curve, 0.175) == pytest.approx(0.6)
    assert ratio_at(curve, 0.3) == ratio_at(curve, 9.0) == pytest.approx(0.8)


@pytest.mark.parametrize("kind", ["macs", "params", "bytes"])
def test_all_groups_lose_the_same_and_the_budget_is_met(kind: str):
    graph = chain(200, 300, 250)
    curves = curves_of(graph, rising(graph, 2), "accuracy")
    plan = fl.allocation.equal_loss(graph, curves, **{kind: 0.6}, multiple=1)
    share = getattr(graph.cost(plan), kind) / getattr(graph.cost(), kind)
    assert 0.58 < share <= 0.6
    drops = fl.allocation.predicted(graph, curves, plan)["predicted"]
    assert drops.max() - drops.min() < 0.06 * drops.max()  # a channel more or less


def test_what_stays_whole_and_what_cannot_be_reached(graph: fl.ChannelGraph):
    drops = rising(graph, 0)
    curves = curves_of(graph, drops, "accuracy", changes={**dict.fromkeys(drops, 1.0), "conv1": 0.0})
    plan = fl.allocation.equal_loss(graph, curves, macs=0.6, protect=["layer3.0.conv2"], multiple=4)
    assert plan.ratios["conv1"] == plan.ratios["layer3.0.conv2"] == 0
    assert all(kept % 4 == 0 for name, kept in plan.kept.items() if name != "fc")
    with pytest.raises(ValueError, match="macs=0.01 cannot be reached"):
        fl.allocation.equal_loss(graph, curves, macs=0.01, multiple=1)
    with pytest.raises(ValueError, match="give exactly one of macs, params, bytes"):
        fl.allocation.equal_loss(graph, curves, multiple=1)
    with pytest.raises(ValueError, match="unknown metric 'kl'"):
        fl.allocation.equal_loss(graph, curves, macs=0.5, metric="kl", multiple=1)


def test_locked_groups_stay_where_they_are(graph: fl.ChannelGraph):
    curves = curves_of(graph, rising(graph, 2), "accuracy")
    held = {"conv1": 5, "layer3.0.conv2": 64}
    plan = fl.allocation.equal_loss(graph, curves, macs=0.6, locked=held, multiple=1)
    assert {name: plan.kept[name] for name in held} == held
    assert graph.cost(plan).macs <= 0.6 * graph.cost().macs
    assert plan.removed["conv1"] == fl.Plan.from_ratios(graph, curves.scores, {"conv1": 11 / 16}).removed["conv1"]
    free = fl.allocation.equal_loss(graph, curves, macs=0.6, multiple=1)
    spared = fl.allocation.equal_loss(graph, curves, macs=0.6, locked={"layer3.0.conv2": 64}, multiple=1)
    assert spared.kept["layer3.0.conv2"] > free.kept["layer3.0.conv2"]
    assert all(spared.kept[n] <= free.kept[n] for n in graph if n != "layer3.0.conv2")  # the others make up for it

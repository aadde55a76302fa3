"""`GammaPanel` in process, against `Plan.global_threshold` and `floors`."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import traitlets
from torch import nn

import fpgmlab as fl
from fpgmlab.plans.thresholds import floors
from fpgmlab.widgets import GammaPanel


@pytest.fixture
def panel(graph: fl.ChannelGraph) -> GammaPanel:
    return GammaPanel(graph)


@pytest.mark.parametrize("floor", [0, 0.1, 1])
@pytest.mark.parametrize("ratio", [0, 0.3, 0.8, 0.95])
def test_plan_threshold_and_totals(graph: fl.ChannelGraph, ratio: float, floor: float):
    panel = GammaPanel(graph, ratio=ratio, floor=floor)
    scores = fl.score(graph, "bn_gamma")
    plan = fl.Plan.global_threshold(graph, scores, ratio, floor=floor)
    pooled = np.sort(np.concatenate([scores[name] for name, group in graph.items() if group.protected is None]))
    assert panel.plan == plan
    assert panel.threshold == pooled[int(ratio * len(pooled) + 1e-9)]
    assert (panel.confirmed["macs"], panel.confirmed["params"]) == (graph.cost(plan).macs, graph.cost(plan).params)
    assert list(panel.frame.columns) == ["group", "channels", "kept", "at_floor"]
    assert panel.frame["group"].tolist() == [name for name, group in graph.items() if group.protected is None]
    assert panel.frame["kept"].tolist() == [plan.kept[name] for name in panel.frame["group"]]
    assert panel.cliff == floors(graph, scores, floor)["ratio"].min()


def test_the_cliff_is_where_the_first_layer_is_held(panel: GammaPanel):
    panel.ratio = panel.cliff - 0.001
    assert not panel.frame["at_floor"].any()
    panel.ratio = panel.cliff
    held = panel.frame.loc[panel.frame["at_floor"]]
    assert held["kept"].tolist() == [1]
    asked = int(panel.cliff * 448 + 1e-9)
    assert sum(map(len, panel.plan.removed.values())) == asked - 1  # the floor holds one back


def test_a_higher_floor_brings_the_cliff_nearer(panel: GammaPanel):
    before, plan = panel.cliff, panel.plan
    panel.floor = 0.5
    assert panel.cliff < before
    assert panel.plan == plan or panel.frame["at_floor"].any()


def test_other_scores(graph: fl.ChannelGraph):
    panel = GammaPanel(graph, scores=fl.score(graph, "l2"), ratio=0.5)
    assert panel.plan == fl.Plan.global_threshold(graph, fl.score(graph, "l2"), 0.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ratio", 1.0, "0 <= ratio < 1; got 1.0"),
        ("ratio", float("nan"), "0 <= ratio < 1"),
        ("floor", 1.1, "0 to 1; got 1.1"),
        ("floor", "x", "expected a float"),
    ],
)
def test_wrong_values_change_nothing(panel: GammaPanel, name: str, value: object, message: str):
    before = (panel.ratio, panel.floor, panel.plan)
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(panel, name, value)
    assert (panel.ratio, panel.floor, panel.plan) == before
    with pytest.raises(traitlets.TraitError, match=message):
        GammaPanel(panel._graph, **{name: value})


def test_without_batch_norms():
    graph = fl.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)), torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match="Sequential has no batch norm"):
        GammaPanel(graph)
    assert GammaPanel(graph, scores=fl.score(graph, "l1")).frame["channels"].tolist() == [8]


def test_bad_scores(graph: fl.ChannelGraph):
    scores = fl.score(graph, "bn_gamma")
    with pytest.raises(ValueError, match=r"'conv1' must be \(16,\); got \(3,\)"):
        GammaPanel(graph, scores=scores | {"conv1": torch.ones(3)})
    with pytest.raises(ValueError, match="1 NaN"):
        GammaPanel(graph, scores=scores | {"conv1": torch.tensor([torch.nan] + 15 * [1.0])})


def test_many_threads_end_in_one_state(panel: GammaPanel):
    def slide(start: int) -> None:
        for step in range(30):
            panel.ratio = ((7 * step + start) % 90) / 100
            panel.floor = (step % 4) / 10

    threads = [threading.Thread(target=slide, args=(start,)) for start in (0, 13, 31)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    expected = fl.Plan.global_threshold(panel._graph, panel._scores, panel.ratio, floor=panel.floor)
    assert panel.plan == expected
    assert (panel.confirmed["ratio"], panel.confirmed["floor"]) == (panel.ratio, panel.floor)

"""Repairs of many plans share work, and each is the repair of its own plan."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.recovery import repair_report
from fpgmlab.recovery.repairing import Options, Repairs
from fpgmlab.recovery.repairing.layer import LayerRefit
from fpgmlab.recovery.repairing.whole import Whole
from tests.networks import Network
from tests.recovery.repairing.test_exact import EXACT, pictures

OPTIONS = Options(None, None, "active", 0, 4e9)


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture
def refits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that are solved, in order."""
    found: list[str] = []
    finish = LayerRefit.finish

    def told(self: LayerRefit) -> tuple:
        found.append(self._name)
        return finish(self)

    monkeypatch.setattr(LayerRefit, "finish", told)
    return found


class Stack(nn.Module):
    """Four convolutions, one of them called twice where asked for."""

    def __init__(self, twice: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c, self.d = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head, self.twice = nn.Linear(8, 4), twice

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = self.b(x).relu()
        if self.twice:
            x = self.b(x).relu()
        x = self.d(self.c(x).relu()).relu()
        return self.head(x.mean((2, 3)))


def stack(twice: bool = False) -> tuple[fl.ChannelGraph, list[Tensor]]:
    graph = fl.trace(Stack(twice).eval(), torch.randn(1, 3, 8, 8))
    generator = torch.Generator().manual_seed(1)
    return graph, list(torch.randn(96, 3, 8, 8, generator=generator).split(40))


@pytest.mark.parametrize("twice", [False, True])
def test_each_is_the_repair_of_its_plan(twice: bool) -> None:
    graph, batches = stack(twice)
    scores = fl.score(graph, "fpgm")
    free = [name for name, group in graph.items() if group.protected is None]
    assert free
    with Repairs(graph, batches, OPTIONS) as repairs:
        for ratio in (0.25, 0.5, 0.25):
            for name in free:
                plan = fl.Plan.from_ratios(graph, scores, {**dict.fromkeys(free, 0.25), name: ratio})
                alone = fl.repair(graph, plan, batches, samples=96, progress=False)
                together = repairs.of(plan)
                assert same(together, alone)
                rows = [repair_report(model).drop(columns="seconds") for model in (together, alone)]
                assert rows[0].equals(rows[1])


def test_only_what_an_edit_reaches_is_refitted(refits: list[str]) -> None:
    graph, batches = stack()
    scores = fl.score(graph, "fpgm")
    with Repairs(graph, batches, OPTIONS) as repairs:
        repairs.of(fl.Plan.from_ratios(graph, scores, {"a": 0.25, "c": 0.25}))
        assert refits == ["a", "b", "c", "d", "head"]
        refits.clear()
        repairs.of(fl.Plan.from_ratios(graph, scores, {"a": 0.25, "c": 0.5}))
        assert refits == ["c", "d", "head"]
        refits.clear()
        repairs.of(fl.Plan.from_ratios(graph, scores, {"a": 0.25, "c": 0.25}))
        assert refits == []


def test_the_whole_network_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, batches = stack()
    scores = fl.score(graph, "fpgm")
    looked = []
    look = Whole.look
    monkeypatch.setattr(Whole, "look", lambda *what: looked.append(look(*what)))
    with Repairs(graph, batches, OPTIONS) as repairs:
        repairs.look()
        for ratio in (0.25, 0.5):
            repairs.of(fl.Plan.uniform(graph, scores, ratio, multiple=1))
    assert len(looked) == 1


def test_a_stopped_repair_leaves_what_is_finished(refits: list[str]) -> None:
    graph, batches = stack()
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.25, multiple=1)
    with Repairs(graph, batches, OPTIONS) as repairs:
        repairs.look()
        early = repairs.of(plan, stop=lambda: len(refits) == 2)
        assert repair_report(early).attrs["interrupted"]
        assert refits == ["a", "b"]
        whole = repairs.of(plan)
        assert refits == ["a", "b", "c", "d", "head"]
        assert same(whole, fl.repair(graph, plan, batches, samples=96, progress=False))


@pytest.mark.parametrize("network", EXACT, ids=lambda network: network.name)
def test_every_small_network(network: Network) -> None:
    graph = fl.trace(network.build(), network.inputs())
    batches = pictures(network.inputs(), 2, 20)
    few, many = (fl.Plan.uniform(graph, fl.score(graph, "l2"), ratio, multiple=1) for ratio in (0.2, 0.4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        alone = fl.repair(graph, many, [(batch, None) for batch in batches], samples=40, progress=False)
    with Repairs(graph, batches, OPTIONS) as repairs:
        repairs.of(few)
        assert same(repairs.of(many), alone)

"""Which of the first network's channels are left, after however many cuts."""

from __future__ import annotations

import pytest
import torch

import fpgmlab as fl
from fpgmlab.allocation.gradual.lineage import Lineage
from tests.allocation.gradual.made import same
from tests.checks import free, random_plan
from tests.heads import heads
from tests.networks import NETWORKS, Network

CUT = ("residual", "dense_block", "concatenation", "depthwise_with_multiplier", "grouped_on_a_concatenation",
       "grouped_across_the_seam", "transposed_grouped", "c2f", "shuffle", "gated", "scale_of_two_layers")  # fmt: skip


@pytest.mark.parametrize("made", [n for n in NETWORKS if n.name in CUT], ids=lambda n: n.name)
def test_two_cuts_are_one_of_the_channels_that_both_leave(made: Network):
    graph = fl.trace(made.build(), made.inputs())
    assert free(graph)
    first, nothing = random_plan(graph, 1), fl.Plan({name: group.channels for name, group in graph.items()}, {})
    present = fl.trace(fl.prune(graph, first), made.inputs())
    second = random_plan(present, 2) if all(present[n].channels > present[n].step for n in free(present)) else first
    if second is first:
        second = fl.Plan(first.kept, {})
    lineage = Lineage(graph, first, present)
    both = lineage.all_gone(second)
    assert same(fl.prune(present, second), fl.prune(graph, both))
    assert lineage.to_go(both) == fl.Plan(present_widths(present), second.removed)
    assert Lineage(graph, nothing, graph).to_go(both) == both


def present_widths(graph: fl.ChannelGraph) -> dict[str, int]:
    return {name: group.channels for name, group in graph.items()}


def test_the_networks_that_are_cut_are_there():
    assert {n.name for n in NETWORKS} >= set(CUT)


def test_scores_are_carried_to_the_channels_they_belong_to():
    made = next(n for n in NETWORKS if n.name == "residual")
    graph = fl.trace(made.build(), made.inputs())
    plan = random_plan(graph, 3)
    present = fl.trace(fl.prune(graph, plan), made.inputs())
    carried = Lineage(graph, plan, present).carried(fl.score(present, "l2"))
    for name, scores in fl.score(graph, "random").items():
        gone = torch.zeros(len(scores), dtype=torch.bool)
        gone[list(plan.removed[name])] = True
        assert torch.equal(carried[name].isneginf(), gone)
        assert torch.equal(carried[name][~gone], fl.score(present, "l2")[name])


def test_heads_are_carried_until_one_is_left():
    graph = heads()
    widths, name = present_widths(graph), "attention.qkv"
    first = fl.Plan(widths, {name: (1,), "fc1": (0, 3)})
    present = fl.trace(fl.prune(graph, first), graph.example_input)
    lineage = Lineage(graph, first, present)
    assert lineage.in_part == ()
    assert lineage.numbers[present.channels_of(name)].tolist() == [graph.channels_of(name).start + i for i in (0, 2, 3)]
    both = lineage.all_gone(fl.Plan(present_widths(present), {name: (0, 2)}))
    assert both.removed[name] == (0, 1, 3)
    last = fl.trace(fl.prune(graph, both), graph.example_input)
    assert Lineage(graph, both, last).in_part == (name,)
    assert (last[name].protected, last[name].unit) == (None, 1)  # of the last head single channels may go

"""What gives accuracy back, where a channel stands for several filters: whole attention heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.recovery.extras.channels import count_of, slices_of, sums_by_channel
from fpgmlab.recovery.extras.distilling.channels import kept_channels
from fpgmlab.recovery.extras.soft_pruning import cut_off_for_good
from tests.heads import HEADS, filters_of_head, heads, inputs_of_head

NAME = "attention.qkv"


def plan_of(graph: fl.ChannelGraph, *gone: int) -> fl.Plan:
    return fl.Plan({name: group.channels for name, group in graph.items()}, {NAME: gone})


@pytest.mark.parametrize("side", ["makers", "readers"])
def test_all_weights_of_a_head_are_one_norm(side: str):
    graph = heads()
    attention, where = graph.model.attention, graph.channels_of(NAME)
    found = sums_by_channel(slices_of(graph, side), count_of(graph))[where]
    for head in range(HEADS):
        mine = filters_of_head(head)
        makes = attention.qkv.weight[mine].square().sum() + attention.qkv.bias[mine].square().sum()
        reads = attention.proj.weight[:, inputs_of_head(head)].square().sum()
        assert float(found[head]) == pytest.approx((makes if side == "makers" else reads).item(), rel=1e-5)


def test_heads_that_nothing_reads_are_found_again():
    graph = heads()
    cut_off_for_good(graph, {NAME: [0, 2]})
    zero = (graph.model.attention.proj.weight == 0).all(0).nonzero().flatten().tolist()
    assert zero == [*inputs_of_head(0), *inputs_of_head(2)]
    plan = fl.plan_of_zeros(graph)
    assert plan.removed[NAME] == (0, 2)
    assert fl.agreement(graph, plan) < 1e-6


def test_a_student_has_the_filters_of_the_heads_that_stay():
    graph = heads()
    student = fl.prune(graph, plan_of(graph, 1, 2))
    layers = {"attention.qkv": ((2, 9, 72), 2), "attention.proj": ((2, 9, 10), 2)}
    kept = kept_channels(student, graph.model, graph.example_input, layers)
    assert kept["attention.qkv"].tolist() == sorted(filters_of_head(0) + filters_of_head(3))
    assert kept["attention.proj"].tolist() == list(range(10))


def test_repair_finds_what_lstsq_does_for_heads():
    graph, images = heads(), torch.randn(64, 1, 12, 12)
    plan, read = plan_of(graph, 1, 2), []
    handle = graph.model.attention.proj.register_forward_hook(lambda _, args, out: read.append((args[0], out)))
    graph.model(images)
    handle.remove()
    rows, wanted = (tensor.detach().double().flatten(0, 1).numpy() for tensor in read[0])
    stay = inputs_of_head(0) + inputs_of_head(3)
    least = residual(rows[:, stay], wanted)
    small = fl.repair(graph, plan, [images], samples=64, progress=False)
    cut, repaired = (error_of(model, stay, rows, wanted) for model in (fl.prune(graph, plan), small))
    assert least <= repaired < 1.1 * least + 1e-9 < cut


def residual(rows: np.ndarray, wanted: np.ndarray) -> float:
    with_one = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    solved = np.linalg.lstsq(with_one, wanted, rcond=None)[0]
    return float(np.square(with_one @ solved - wanted).sum())


def error_of(model: nn.Module, stay: list[int], rows: np.ndarray, wanted: np.ndarray) -> float:
    proj = model.attention.proj
    made: Tensor = torch.from_numpy(rows[:, stay]) @ proj.weight.detach().double().T + proj.bias.detach().double()
    return float(np.square(made.numpy() - wanted).sum())

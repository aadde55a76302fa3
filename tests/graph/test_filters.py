"""Convolutions by tensors that a model holds beside its layers: blurring, edge filters."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from timm.layers import BlurPool2d
from torch import Tensor, nn

import fpgmlab as fl
from tests.networks import busy
from tests.whole_way import check_cut, check_saved


class Blurred(nn.Module):
    """A blur between two convolutions."""

    def __init__(self, blur: nn.Module) -> None:
        super().__init__()
        self.first, self.blur, self.last = nn.Conv2d(3, 8, 3, padding=1), blur, nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blur(F.relu(self.first(x)))).mean((2, 3))


class ByWidth(nn.Module):
    """Filters as many channels as there are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.rand(8, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1, groups=x.shape[1])


class WrittenOut(ByWidth):
    """Filters eight channels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1, groups=8)


@pytest.mark.parametrize("blur", [BlurPool2d(8), ByWidth()])
def test_filters_of_each_channel_are_cut_with_it(blur: nn.Module, tmp_path: Path):
    torch.manual_seed(0)
    graph = fl.trace(busy(Blurred(blur)).eval(), torch.randn(2, 3, 8, 8))
    assert graph["first"].protected is None
    small = check_cut(graph, fl.Plan.from_ratios(graph, fl.score(graph, "random"), {"first": 0.4}))
    assert all(len(buffer) == 5 for buffer in small.blur.buffers())
    check_saved(small, lambda: Blurred(copy.deepcopy(blur)), torch.randn(2, 3, 8, 8), tmp_path)


def test_a_written_number_of_filters_protects():
    graph = fl.trace(busy(Blurred(WrittenOut())).eval(), torch.randn(2, 3, 8, 8))
    assert "computes its weight" in graph["first"].protected
    assert graph.cost().macs == 8 * 8 * (8 * 27 + 8 * 9 + 4 * 8)

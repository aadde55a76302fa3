"""Modules whose code writes out how many channels a part has: protected with the reason, never cut wrongly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from tests.checks import difference, free, pictures, random_plan
from tests.graph.test_detectors import ConvBlock
from tests.networks import busy


class Halved(nn.Module):
    """A convolution of 12 channels, split in a way of its own; both parts go on through a convolution."""

    def __init__(self, split: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.split = split
        self.body = ConvBlock(3, 12, 3)
        with torch.no_grad():
            widths = [part.shape[1] for part in split(torch.zeros(1, 12, 2, 2))]
        self.ways = nn.ModuleList(ConvBlock(width, 6) for width in widths)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(sum(way(part) for way, part in zip(self.ways, self.split(self.body(x)), strict=True)))


class Inside(nn.Module):
    """`Halved` as a part of a network."""

    def __init__(self, split: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.block = Halved(split)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


WRITTEN = {
    "split-sizes": lambda x: x.split((6, 6), 1),
    "split-size": lambda x: x.split(6, 1),
    "split-keyword": lambda x: x.split(split_size=[6, 6], dim=1),
    "torch.split": lambda x: torch.split(x, [5, 7], dim=1),
    "torch.split-keyword": lambda x: torch.split(x, split_size_or_sections=6, dim=1),
    "split_with_sizes": lambda x: x.split_with_sizes([4, 8], 1),
    "split_with_sizes-keyword": lambda x: x.split_with_sizes(split_sizes=[4, 8], dim=1),
    "tensor_split": lambda x: x.tensor_split((6,), 1),
    "narrow": lambda x: (x.narrow(1, 0, 6), x.narrow(1, 6, 6)),
    "getitem": lambda x: (x[:, :6], x[:, 6:]),
    "view": lambda x: x.view(x.shape[0], 2, 6, *x.shape[2:]).unbind(1),
    "half-of-them": lambda x: x.split([x.shape[1] // 2, x.shape[1] - 6], 1),
}
READ = {
    "chunk": lambda x: x.chunk(2, 1),
    "tensor_split-parts": lambda x: x.tensor_split(2, dim=1),
    "tensor_split-keyword": lambda x: torch.tensor_split(x, sections=2, dim=1),
    "split-by-shape": lambda x: x.split(x.shape[1] // 2, 1),
    "split-by-keyword": lambda x: torch.split(x, split_size_or_sections=x.size(1) // 2, dim=1),
}


@pytest.mark.parametrize("name", [*WRITTEN, *READ])
def test_splits_are_never_cut_wrongly(name: str):
    torch.manual_seed(0)
    model, x = busy(Inside((WRITTEN | READ)[name])).eval(), pictures(2)
    graph = fl.trace(model, x)
    group = graph["block.body.conv"]
    if name in READ:
        assert (group.protected, group.step) == (None, 2)
    else:
        operation = {"half": "a calculation", "torch": "'split'"}.get(name.split("-")[0].split(".")[0])
        assert (operation or f"'{name.split('-')[0]}'") in group.protected
        assert group.protected.endswith("in 'block'")
    for seed in range(3):
        plan = random_plan(graph, seed)
        small = fl.prune(graph, plan)
        with torch.no_grad():
            with fl.simulate(graph, plan):
                simulated = model(x)
            assert difference(simulated, small(x)) <= 1e-5
            assert difference(model(x), small(x)) > 1e-2


class HeadedAttention(nn.Module):
    """Queries, keys and values of one convolution, arranged by heads; positions by a depthwise one, as in YOLO11."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.key, self.value = heads, channels // heads // 2, channels // heads
        self.qkv = ConvBlock(channels, 2 * channels)
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.last = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        by_head = self.qkv(x).view(n, self.heads, 2 * self.key + self.value, h * w)
        q, k, v = by_head.split([self.key, self.key, self.value], dim=2)
        weights = (q.transpose(-2, -1) @ k * self.key**-0.5).softmax(-1)
        found = (v @ weights.transpose(-2, -1)).view(n, c, h, w)
        return self.last(found + self.position(v.reshape(n, c, h, w)))


def test_attention_by_heads_goes_with_the_channels_that_it_is_added_to():
    torch.manual_seed(0)
    model = nn.Sequential(
        ConvBlock(3, 8, 3), ConvBlock(8, 12, 3), HeadedAttention(12, 2), ConvBlock(12, 10), nn.Conv2d(10, 2, 1)
    )
    busy(model).eval()
    graph, x = fl.trace(model, pictures(2)), pictures(2)
    assert set(free(graph)) == {"0.conv", "1.conv", "2.last.conv", "3.conv"}
    assert graph["1.conv"].producers == ("1.conv", "2.qkv.conv")  # as wide as what comes in
    assert graph["1.conv"].channels == 2  # heads, each of 6 channels of what comes in
    plan = random_plan(graph, 0)
    small = fl.prune(graph, plan)
    with torch.no_grad():
        with fl.simulate(graph, plan):
            simulated = model(x)
        assert difference(simulated, small(x)) <= 1e-5

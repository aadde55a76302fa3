"""Modules that split their channels: cut where the sizes are written anew, protected where the code fixes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from tests.checks import difference, free, pictures, random_plan
from tests.graph.test_detectors import ConvBlock
from tests.networks import busy
from tests.whole_way import check_cut


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


class Parted(nn.Module):
    """A convolution of 12 channels, split by numbers that the module holds; each part goes on through a convolution."""

    def __init__(self, split: Callable[[Parted, Tensor], Sequence[Tensor]], **numbers: object) -> None:
        super().__init__()
        self.split = split
        for name, number in numbers.items():
            setattr(self, name, number)
        self.body = ConvBlock(3, 12, 3)
        with torch.no_grad():
            widths = [part.shape[1] for part in split(self, torch.zeros(1, 12, 2, 2))]
        self.ways = nn.ModuleList(ConvBlock(width, 6) for width in widths)
        self.head = nn.Conv2d(6, 2, 1)

    @property
    def half(self) -> int:
        return self.all // 2

    def forward(self, x: Tensor) -> Tensor:
        parts = self.split(self, self.body(x))
        return self.head(sum(way(part) for way, part in zip(self.ways, parts, strict=True)))


# How the channels are split, by which numbers, and how many have to go at a time.
HELD = {
    "sizes": (lambda m, x: x.split([m.a, m.b], 1), {"a": 5, "b": 7}, 1),
    "list": (lambda m, x: torch.split(x, m.sizes, dim=1), {"sizes": [3, 4, 5]}, 1),
    "tuple": (lambda m, x: x.split_with_sizes(split_sizes=m.sizes, dim=1), {"sizes": (4, 8)}, 1),
    "size": (lambda m, x: x.split(m.a, 1), {"a": 4}, 3),
    "twice": (lambda m, x: x.split((m.a, m.a), 1), {"a": 6}, 2),
    "part": (lambda m, x: x.split(m.all // 2, 1), {"all": 12}, 2),
    "parts": (lambda m, x: x.split(m.all // m.ways_in, 1), {"all": 12, "ways_in": 3}, 3),
    "property": (lambda m, x: x.split(m.half, 1), {"all": 12}, 2),
    "double": (lambda m, x: x.split([2 * m.a, m.b], 1), {"a": 3, "b": 6}, 4),
    "share": (lambda m, x: x.split([m.all // 3 * 2, m.all // 3], 1), {"all": 12}, 3),
    "slices": (lambda m, x: (x[:, : m.a], x[:, m.a :]), {"a": 5}, 1),
    "from-the-end": (lambda m, x: (x[:, : -m.a], x[:, -m.a :, :]), {"a": 5}, 1),
    "ellipsis": (lambda m, x: (x[..., : m.a, :, :], x[:, m.a :, ..., None][..., 0]), {"a": 5}, 1),
    "middle": (lambda m, x: (x[:, m.a : m.b], x[:, m.b :], x[:, : m.a]), {"a": 3, "b": 8}, 1),
    "narrow": (lambda m, x: (x.narrow(1, 0, m.a), x.narrow(1, start=m.a, length=m.b)), {"a": 5, "b": 7}, 1),
    "tensor_split": (lambda m, x: x.tensor_split((m.a, m.b), 1), {"a": 3, "b": 8}, 1),
    "difference": (lambda m, x: x.split([m.all - m.a, m.a], 1), {"all": 12, "a": 5}, 1),
    "sum": (lambda m, x: (x[:, : m.a], x[:, m.a : m.a + m.b], x[:, m.a + m.b :]), {"a": 3, "b": 4}, 1),
    "sum-of-all": (
        lambda m, x: checked(torch.cat(x.split(m.sizes, 1), 1), sum(m.sizes)).split(m.sizes, 1),
        {"sizes": [5, 7]},
        1,
    ),
    "half-known": (lambda m, x: (x[:, : m.a], x[:, m.a : 12]), {"a": 5}, 1),
    "asserted": (lambda m, x: checked(x, m.all).split(m.all // 2, 1), {"all": 12}, 2),
}
SPENT = {
    "calculation": (lambda m, x: (x[:, : m.a] * m.a**-0.5, x[:, m.a :]), {"a": 5}, "'block.a' also enters a calc"),
    "remainder": (lambda m, x: (x[:, : m.a // 3], x[:, m.a // 3 :]), {"a": 8}, "fixed position"),
    "rest": (lambda m, x: x.split(m.a, 1), {"a": 8}, "fixed position"),
    "index": (lambda m, x: (x[:, : m.a], x[:, m.a :] + x[:, m.a, None]), {"a": 6}, "fixed position"),
    "other-size": (lambda m, x: (x[:, : m.a, : m.a], x[:, m.a :, : m.a]), {"a": 6}, "'block.a' also enters 'getitem'"),
    "two-unknown": (lambda m, x: x.split([m.a + m.b, 12 - m.a - m.b], 1), {"a": 2, "b": 3}, "fixed position"),
    "literal": (lambda m, x: x.split([m.a, 7], 1), {"a": 5}, "fixed position"),
    "buffer": (lambda m, x: x.split([int(n) for n in m.sizes], 1), {"sizes": torch.tensor([5, 7])}, "fixed position"),
}


def checked(x: Tensor, channels: int) -> Tensor:
    assert x.shape[1] == channels
    return x


def numbers_of(block: nn.Module) -> dict[str, object]:
    return {name: getattr(block, name) for name in ("a", "b", "all", "sizes", "ways_in") if hasattr(block, name)}


@pytest.mark.parametrize("name", HELD)
def test_sizes_that_a_module_holds_are_written_anew(name: str):
    split, numbers, step = HELD[name]
    torch.manual_seed(0)
    model, x = busy(nn.Sequential(OrderedDict(block=Parted(split, **numbers)))).eval(), pictures(2)
    graph = fl.trace(model, x)
    group = graph["block.body.conv"]
    assert (group.protected, group.step) == (None, step)
    assert numbers_of(model.block) == numbers
    written = []
    for seed in range(3):
        plan = random_plan(graph, seed)
        small = check_cut(graph, plan, tolerance=1e-5)
        written.append(numbers_of(small.block))
        assert sum(way.conv.in_channels for way in small.block.ways) == plan.kept["block.body.conv"]
        with torch.no_grad():
            assert difference(model(x), small(x)) > 1e-2
        assert fl.provenance(small).numbers.keys() <= {f"block.{name}" for name in numbers}
    assert any(after != numbers for after in written)


@pytest.mark.parametrize("name", SPENT)
def test_sizes_that_are_used_otherwise_are_protected(name: str):
    split, numbers, reason = SPENT[name]
    torch.manual_seed(0)
    model, x = busy(nn.Sequential(OrderedDict(block=Parted(split, **numbers)))).eval(), pictures(2)
    graph = fl.trace(model, x)
    protected = graph["block.body.conv"].protected
    assert reason in protected
    check_cut(graph, random_plan(graph, 0), tolerance=1e-5)


def test_sizes_are_saved(tmp_path: Path):
    def build() -> nn.Module:
        torch.manual_seed(0)
        split, numbers, _ = HELD["list"]
        return busy(nn.Sequential(OrderedDict(block=Parted(split, **{"sizes": list(numbers["sizes"])})))).eval()

    model, x = build(), pictures(2)
    graph = fl.trace(model, x)
    small = fl.prune(graph, random_plan(graph, 0))
    fl.save(small, tmp_path / "small.safetensors")
    loaded = fl.load(tmp_path / "small.safetensors", model=build())
    assert loaded.block.sizes == small.block.sizes != [3, 4, 5]
    assert isinstance(loaded.block.sizes, list)
    with torch.no_grad():
        assert difference(loaded(x), small(x)) <= 1e-6


class Selective(nn.Module):
    """Two ways of half the channels each, weighed against each other channel by channel, as in SKNet and ResNeSt."""

    def __init__(self, weigh: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.channels, self.paths, self.weigh = 12, 2, weigh
        self.ways = nn.ModuleList(ConvBlock(6, 10) for _ in range(2))
        self.reduce, self.select = ConvBlock(10, 4), nn.Conv2d(4, 20, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.channels // self.paths, 1)
        y = torch.stack([way(part) for way, part in zip(self.ways, parts, strict=True)], dim=1)
        assert y.shape[1] == self.paths
        weights = self.weigh(self.select(self.reduce(y.sum(1).mean((2, 3), keepdim=True))), self.paths)
        return (y * weights).sum(1)


def weigh_in_rows(x: Tensor, paths: int) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, paths, c // paths, h, w).softmax(1)


def weigh_and_flatten(x: Tensor, paths: int) -> Tensor:
    b, c, _, _ = x.shape
    weights = x.view(b, paths, -1).softmax(1).reshape(b, -1).view(b, -1, 1, 1)
    return weights.reshape((b, paths, c // paths, 1, 1))


@pytest.mark.parametrize("weigh", [weigh_in_rows, weigh_and_flatten])
def test_ways_that_are_weighed_against_each_other(weigh: Callable[[Tensor, int], Tensor]):
    torch.manual_seed(0)
    model = nn.Sequential(ConvBlock(3, 12, 3), Selective(weigh), nn.Conv2d(10, 2, 1))
    graph = fl.trace(busy(model).eval(), pictures(2))
    assert {name: group.step for name, group in graph.items() if group.protected is None} == {
        "0.conv": 2,
        "1.ways.0.conv": 1,
        "1.reduce.conv": 1,
    }
    assert {"1.ways.1.conv", "1.select"} <= {*graph["1.ways.0.conv"].producers}
    for seed in range(3):
        small = check_cut(graph, random_plan(graph, seed), tolerance=1e-5)
    assert small[1].channels == small[0].conv.out_channels < 12
    assert small[1].paths == 2


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

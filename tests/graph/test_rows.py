"""Channels in rows: whole attention heads, shuffles, and what a reshape may not be cut for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.graph.tracing.shapes import blocks_of, finer
from tests.networks import busy
from tests.whole_way import check_cut, check_trains

TOKENS = (2, 6, 24)  # examples, tokens, channels


class Attention(nn.Module):
    """Self-attention of 4 heads of 6 channels, in the words of whoever wrote ``attend``."""

    def __init__(self, attend: Callable, fused: bool = True, width: int = 24) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim, self.attend = 4, 6, 24, attend
        self.qkv = nn.Linear(width, 72) if fused else None
        self.q, self.k, self.v = (None if fused else nn.Linear(width, 24) for _ in range(3))
        self.norm, self.pool = nn.LayerNorm(6), nn.Conv1d(6, 6, 3, padding=1, groups=6)
        self.table = nn.Parameter(torch.randn(4, 6, 6))
        self.proj = nn.Linear(24, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.attend(self, x))


class Around(nn.Module):
    """A stream with an attention added to it."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.first, self.attention, self.last = nn.Linear(5, 24), attention, nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(F.gelu(x + self.attention(x)).mean(1))


def by_attributes(m, x):  # timm's way
    b, n, _ = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, m.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    found = F.scaled_dot_product_attention(m.norm(q), m.norm(k), v)
    return found.transpose(1, 2).reshape(b, n, m.attn_dim)


def by_products(m, x):
    b, n, _ = x.shape
    q, k, v = m.qkv(x).view(b, n, 3, m.num_heads, m.head_dim).permute(2, 0, 3, 1, 4)
    q, k, v = (each.reshape(b * m.num_heads, n, m.head_dim) for each in (q, k, v))
    found = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v).view(b, m.num_heads, n, m.head_dim)
    return found.transpose(1, 2).reshape(b, n, m.head_dim * m.num_heads)


def with_a_changed_bias(m, x):  # torchvision's second Swin
    b, n, _ = x.shape
    bias = m.qkv.bias.clone()
    third = bias.numel() // 3
    bias[third : 2 * third].zero_()
    qkv = F.linear(x, m.qkv.weight, bias).reshape(b, n, 3, m.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1)


def with_values_filtered_in_one_batch(m, x):  # MViT's way
    b, n, _ = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    v = m.pool(v.reshape(b * m.num_heads, n, m.head_dim).mT).mT.reshape(b, m.num_heads, n, m.head_dim)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1)


def by_what_is_left(m, x):  # Swin's way
    b, n, _ = x.shape
    qkv = m.qkv(x).reshape(b, n, 3, m.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    weights = q * 0.4 @ k.transpose(-2, -1) + m.table
    return (weights.softmax(-1) @ v).transpose(1, 2).reshape(b, n, -1)


def each_by_itself(m, x):
    b, n, _ = x.shape
    q, k, v = (layer(x).view(b, n, -1, m.head_dim).transpose(1, 2) for layer in (m.q, m.k, m.v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=m.table).transpose(1, 2).flatten(2)


def as_sums(m, x):
    q, k, v = (layer(x).unflatten(-1, (m.num_heads, -1)) for layer in (m.q, m.k, m.v))
    weights = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
    return torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)


def in_one_batch(m, x):
    b, n, _ = x.shape
    q, k, v = (layer(x).view(b, n, m.num_heads, -1).transpose(1, 2) for layer in (m.q, m.k, m.v))
    return (torch.matmul(q, k.mT).softmax(-1) @ v).permute(0, 2, 1, 3).reshape(b, n, -1)


def across_channels(m, x):  # XCiT's way
    b, n, _ = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, m.head_dim).permute(2, 0, 3, 4, 1).unbind(0)
    weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)).softmax(-1)
    return (weights @ v).permute(0, 3, 1, 2).reshape(b, n, m.attn_dim)


def by_the_width_of_all_heads(m, x):  # CoaT's way
    b, n, _ = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, m.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    _, heads, _, size = q.shape
    found = F.scaled_dot_product_attention(q, k, v) * q
    return found.transpose(1, 2).reshape(b, n, heads * size) * v.transpose(1, 2).reshape(b, n, heads * size)


@pytest.mark.parametrize(
    "attend",
    [
        by_the_width_of_all_heads,
        with_a_changed_bias,
        with_values_filtered_in_one_batch,
        by_attributes,
        by_products,
        by_what_is_left,
        each_by_itself,
        as_sums,
        in_one_batch,
        across_channels,
    ],
)
def test_whole_heads_can_go(attend: Callable):
    torch.manual_seed(0)
    attention = Attention(attend, fused=attend not in {each_by_itself, as_sums, in_one_batch})
    graph = fl.trace(busy(Around(attention)).eval(), torch.randn(2, 6, 5))
    heads = graph["attention.qkv" if attention.qkv is not None else "attention.q"]
    assert (heads.channels, heads.protected) == (4, None)
    told = attend is not each_by_itself  # of which the code names the size of a head alone
    assert (heads.unit, heads.each) == (6, "head of 6 channels" if told else "unit of 6 channels")
    assert (graph["first"].unit, graph["first"].each) == (1, "channel")
    assert (graph["first"].channels, graph["first"].protected) == (24, None)
    plan = fl.Plan.from_ratios(graph, fl.score(graph, "random"), {heads.name: 0.5, "first": 0.3})
    small = check_cut(graph, plan)
    assert small.attention.proj.in_features == 12
    assert small.attention.norm.weight.shape == (6,)
    assert small.first.out_features == 17
    check_trains(small, torch.randn(2, 6, 5))
    assert small.attention.num_heads == (4 if attend is each_by_itself else 2)


class Remembering(Attention):
    """Keeps what it adds to the products for evaluation, until training begins, as LeViT does."""

    def __init__(self) -> None:
        super().__init__(by_memory)
        self.shape = (6, 6, 4)  # tokens, tokens, heads
        self.kept: dict[str, Tensor] = {}

    def train(self, mode: bool = True) -> nn.Module:
        self.kept = {} if mode else self.kept
        return super().train(mode)


def by_memory(m, x):
    b, n, _ = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    if "bias" not in m.kept:
        m.kept["bias"] = m.table.permute(1, 2, 0).reshape(m.shape).permute(2, 0, 1)
    return ((q @ k.mT + m.kept["bias"]).softmax(-1) @ v).transpose(1, 2).reshape(b, n, -1)


def test_what_is_kept_for_evaluation_is_worked_out_anew(tmp_path: Path):
    torch.manual_seed(0)
    model, x = busy(Around(Remembering())).eval(), torch.randn(2, 6, 5)
    model(x)
    kept = model.attention.kept["bias"]
    graph = fl.trace(model, x)
    assert model.attention.kept["bias"] is kept
    assert (graph["attention.qkv"].channels, graph["attention.qkv"].protected) == (4, None)
    small = check_cut(graph, fl.Plan.from_ratios(graph, fl.score(graph, "random"), {"attention.qkv": 0.5}))
    assert small.attention.shape == (6, 6, 2)
    fl.save(small, tmp_path / "small.safetensors")
    used = busy(Around(Remembering())).eval()
    used(x)  # its own bias is kept now
    assert torch.allclose(fl.load(tmp_path / "small.safetensors", model=used)(x), small(x), atol=1e-6)


def by_the_stream_and_its_root(m, x):  # torchvision's Swin
    b, n, c = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, c // m.num_heads).permute(2, 0, 3, 1, 4)
    weights = (q * (c // m.num_heads) ** -0.5) @ k.transpose(-2, -1)
    return (weights.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c)


def by_the_stream(m, x):  # the width comes from what is added later
    b, n, c = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, m.head_dim).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)


def by_the_stream_alone(m, x):  # as does the size of a head
    b, n, c = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, m.num_heads, c // m.num_heads).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)


@pytest.mark.parametrize("attend", [by_the_stream, by_the_stream_alone, by_the_stream_and_its_root])
def test_a_width_that_is_read_from_the_stream_ties_heads_to_it(attend: Callable):
    torch.manual_seed(0)
    graph = fl.trace(busy(Around(Attention(attend))).eval(), torch.randn(2, 6, 5))
    assert graph["first"].producers == ("first", "attention.qkv", "attention.proj")
    assert (graph["first"].channels, graph["first"].protected) == (4, None)
    small = check_cut(graph, fl.Plan.from_ratios(graph, fl.score(graph, "random"), {"first": 0.5}))
    assert (small.first.out_features, small.attention.qkv.out_features) == (12, 36)


def written_out(m, x):
    b, n, _ = x.shape
    q, k, v = m.qkv(x).reshape(b, n, 3, 4, 6).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, 24)


def a_size_that_nothing_settles(m, x):
    return m.qkv(x)[..., :24] * (x.shape[-1] // m.num_heads) ** -0.5


def heads_that_are_calculated_with(m, x):
    return by_attributes(m, x) / m.num_heads


@pytest.mark.parametrize(
    ("attend", "reason"),
    [
        (written_out, "in rows (3 x 4 x 6, as the model's code says) in 'attention'"),
        (heads_that_are_calculated_with, "'attention.num_heads' also enters"),
    ],
)
def test_heads_that_the_code_fixes_stay(attend: Callable, reason: str):
    torch.manual_seed(0)
    graph = fl.trace(busy(Around(Attention(attend))).eval(), torch.randn(2, 6, 5))
    assert reason in (graph["attention.qkv"].protected or "")
    check_cut(graph, fl.Plan.uniform(graph, fl.score(graph, "random"), 0.5))


class Reshaped(nn.Module):
    """A convolution of 8 channels between others, and what is done with it."""

    def __init__(self, between: Callable) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(F.gelu(self.first(x)))).mean((2, 3))


def patches(x):  # MobileViT's way
    b, c, h, w = x.shape
    x = x.reshape(b * c * (h // 2), 2, w // 2, 2).transpose(1, 2).reshape(b, c, h * w // 4, 4)
    x = x.softmax(-1).transpose(1, 3).reshape(b * 4, h * w // 4, -1)
    x = x.contiguous().view(b, 4, h * w // 4, -1).transpose(1, 3).reshape(b * c * (h // 2), w // 2, 2, 2)
    return x.transpose(1, 2).reshape(b, c, h, w)


def flat_and_back(x):  # LeViT's way
    return x.flatten(2).relu().reshape_as(x)


@pytest.mark.parametrize("between", [patches, flat_and_back])
def test_what_moves_positions_alone_keeps_channels_free(between: Callable):
    torch.manual_seed(0)
    graph = fl.trace(busy(Reshaped(between)).eval(), torch.randn(2, 3, 4, 6))
    assert (graph["first"].channels, graph["first"].protected) == (8, None)
    check_cut(graph, fl.Plan.from_ratios(graph, fl.score(graph, "random"), {"first": 0.4}))


def test_what_cuts_through_channels_protects_them():
    graph = fl.trace(Reshaped(lambda x: x.reshape(len(x), 6, 4, 8).reshape(x.shape)).eval(), torch.randn(2, 3, 4, 6))
    assert "arranges its channels anew" in graph["first"].protected


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        ((2, 6, 72), (2, 6, 3, 4, 6), [([0], [0]), ([1], [1]), ([2], [2, 3, 4])]),
        ((2, 1, 12, 5), (2, 12, 5), [([0], [0]), ([2], [1]), ([3], [2])]),
        ((2, 3, 4, 5), (6, 20), [([0, 1], [0]), ([2, 3], [1])]),
        ((4, 6), (3, 8), [([0, 1], [0, 1])]),
        ((1, 1), (1,), []),
    ],
)
def test_which_dimensions_become_which(before: tuple, after: tuple, blocks: list):
    assert blocks_of(before, after) == blocks


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        ((2, 8, 4, 6), (32, 2, 3, 2), [2, 8, 2, 2, 6]),
        ((4, 6), (3, 8), None),
        ((2, 6), (2, 2, 3), None),
    ],
)
def test_what_lies_between_two_shapes(before: tuple, after: tuple, between: list | None):
    assert finer(before, after) == between


def test_a_size_of_heads_that_would_change_protects():
    torch.manual_seed(0)
    graph = fl.trace(busy(Around(Attention(a_size_that_nothing_settles))).eval(), torch.randn(2, 6, 5))
    assert "enters a calculation" in graph["first"].protected

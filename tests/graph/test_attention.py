"""torch's own attention: heads go with as many channels of what it reads, against the really pruned network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from tests.checks import random_plan
from tests.networks import Model, busy
from tests.whole_way import check_cut, check_saved, check_trains

HEADS, EACH = 4, 3
WIDTH = HEADS * EACH


def around(attend: Callable[[Model, Tensor], Tensor], **attention: bool | int) -> Model:
    """Return a network of tokens with an attention in a residual branch, which ``attend`` calls."""

    def run(m: Model, x: Tensor) -> Tensor:
        x = m.embed(x)
        x = x + attend(m, m.norm(x))
        return m.fc(x.mean(1))

    torch.manual_seed(0)
    layers = {
        "embed": nn.Linear(6, WIDTH),
        "norm": nn.LayerNorm(WIDTH),
        "attention": nn.MultiheadAttention(WIDTH, HEADS, **{"batch_first": True} | attention),
        "words": nn.Linear(WIDTH, WIDTH),
        "fc": nn.Linear(WIDTH, 5),
    }
    return busy(Model(run, layers)).eval()


def example() -> Tensor:
    return torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(1))


def across(m: Model, x: Tensor) -> Tensor:
    """Each token looks at the first five of another kind."""
    words = m.words(x)[:, :5]
    return m.attention(x, words, words, need_weights=False)[0]


WAYS: dict[str, tuple[Callable[[Model, Tensor], Tensor], dict]] = {
    "itself": (lambda m, x: m.attention(x, x, x)[0], {}),
    "batch_second": (lambda m, x: m.attention(*3 * [x.transpose(0, 1)])[0].transpose(0, 1), {"batch_first": False}),
    "across": (across, {}),
    "without_bias": (lambda m, x: m.attention(x, x, x)[0], {"bias": False}),
    "zero_attention": (lambda m, x: m.attention(x, x, x)[0], {"add_zero_attn": True}),
    "masked": (lambda m, x: m.attention(x, x, x, attn_mask=torch.ones(7, 7).tril() == 0)[0], {}),
    "twice": (lambda m, x: m.attention(*3 * [m.attention(x, x, x)[0]])[0], {}),
}


@pytest.mark.parametrize("name", WAYS)
def test_heads_go_with_the_stream(name: str, tmp_path: Path):
    attend, options = WAYS[name]
    model, x = around(attend, **options), example()
    graph = fl.trace(model, x)
    group = graph["embed"]
    assert (group.protected, group.channels, group.unit, group.unit_name) == (None, HEADS, EACH, "head")
    assert "attention" in group.consumers
    plan = fl.Plan.from_ratios(graph, fl.score(graph, "fpgm"), {"embed": 0.5})
    small = check_cut(graph, plan)
    attention = small.attention
    assert (attention.num_heads, attention.head_dim, attention.embed_dim, attention.kdim) == (2, EACH, 6, 6)
    check_trains(small, x)
    check_saved(small, lambda: around(attend, **options), x, tmp_path)


PROTECTED: dict[str, tuple[Callable[[Model, Tensor], Tensor], dict, str]] = {
    "weights_used": (lambda m, x: m.attention(x, x, x)[1] @ x, {}, "by value"),
    "keys_of_its_own": (lambda m, x: m.attention(x, x, x)[0], {"add_bias_kv": True}, "adds keys and values of its own"),
    "mask_of_each_head": (
        lambda m, x: m.attention(x, x, x, attn_mask=torch.zeros(2 * HEADS, 7, 7))[0],
        {},
        "has a mask for each head",
    ),
    "reads_the_inputs": (
        lambda m, x: m.attention(x, *2 * [torch.ones(2, 7, WIDTH)])[0],
        {},
        "of fixed width",
    ),
}


@pytest.mark.parametrize("name", PROTECTED)
def test_what_does_not_fit_protects(name: str):
    attend, options, reason = PROTECTED[name]
    graph = fl.trace(around(attend, **options), example())
    assert reason in graph["embed"].protected
    check_cut(graph, random_plan(graph), macs=False)


def test_encoders_of_torch():
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 10, batch_first=True, dropout=0.0)
    layers = {
        "embed": nn.Linear(6, WIDTH),
        "encoder": nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        "fc": nn.Linear(WIDTH, 5),
    }
    torch.manual_seed(0)
    model = busy(Model(lambda m, x: m.fc(m.encoder(m.embed(x)).mean(1)), layers)).eval()
    graph = fl.trace(model, example())
    assert [group.channels for group in graph.values() if not group.protected] == [HEADS, 10, 10]
    check_trains(check_cut(graph, random_plan(graph)), example())

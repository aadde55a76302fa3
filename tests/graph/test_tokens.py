"""A model's own tensors beside its layers: tokens, positions, tables, queries, against the really pruned network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from tests.checks import random_plan
from tests.networks import Model, busy
from tests.whole_way import check_cut, check_trains

WIDTH = 8


def own(*sizes: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*sizes, generator=torch.Generator().manual_seed(len(sizes))))


def tokens(model: Model, x: Tensor) -> Tensor:
    return model.embed(x).flatten(2).transpose(1, 2)  # (batch, 16, 8)


def transformed(body: Callable[[Model, Tensor], Tensor], **own_tensors: nn.Module | nn.Parameter | Tensor) -> Model:
    """Return a network of tokens: embedded, treated by ``body``, normalised, in a residual branch, classified."""

    def run(m: Model, x: Tensor) -> Tensor:
        x = body(m, tokens(m, x))
        x = x + m.fc2(F.gelu(m.fc1(m.norm(x))))
        return m.fc(x.mean(1))

    layers = {
        "embed": nn.Conv2d(3, WIDTH, 2, stride=2),
        "norm": nn.LayerNorm(WIDTH),
        "fc1": nn.Linear(WIDTH, 12),
        "fc2": nn.Linear(12, WIDTH),
        "fc": nn.Linear(WIDTH, 5),
    }
    torch.manual_seed(0)
    return busy(Model(run, layers | own_tensors)).eval()


def resized(table: Tensor, side: int) -> Tensor:
    """Return a table (1, n, channels) of a square of positions for another square, as vision transformers do."""
    old = int(table.shape[1] ** 0.5)
    square = table.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    square = F.interpolate(square, size=(side, side), mode="bicubic", antialias=True)
    return square.permute(0, 2, 3, 1).reshape(1, -1, table.shape[-1])


def with_row(x: Tensor, row: Tensor) -> Tensor:
    return torch.cat([row.expand(len(x), -1, -1), x], dim=1)


class Ids(nn.Module):
    """Adds a word's embedding to each token."""

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.words = nn.Embedding(20, WIDTH, **options)
        self.register_buffer("ids", torch.arange(16) % 7)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.words(self.ids)


FREE: dict[str, tuple[Callable[[Model, Tensor], Tensor], dict]] = {
    "class_token": (lambda m, x: with_row(x, m.cls), {"cls": own(1, 1, WIDTH)}),
    "register_tokens": (lambda m, x: with_row(x, m.registers), {"registers": own(1, 3, WIDTH)}),
    "registers_for_one": (lambda m, x: torch.stack([torch.cat([m.r, e]) for e in x]), {"r": own(3, WIDTH)}),
    "positions": (lambda m, x: x + m.pos, {"pos": own(1, 16, WIDTH)}),
    "token_and_positions": (
        lambda m, x: with_row(x, m.cls) + m.pos,
        {"cls": own(1, 1, WIDTH), "pos": own(1, 17, WIDTH)},
    ),
    "token_with_its_position": (
        lambda m, x: torch.cat([(m.cls + m.pos[:, :1]).expand(len(x), -1, -1), x + m.pos[:, 1:]], 1),
        {"cls": own(1, 1, WIDTH), "pos": own(1, 17, WIDTH)},
    ),
    "positions_before_tokens": (lambda m, x: m.pos.repeat(len(x), 1, 1) + x, {"pos": own(1, 16, WIDTH)}),
    "positions_resized": (lambda m, x: x + resized(m.pos, 4), {"pos": own(1, 9, WIDTH)}),
    "positions_in_a_buffer": (lambda m, x: x + resized(m.pos, 4), {"pos": own(1, 9, WIDTH).detach()}),
    "positions_as_a_map": (
        lambda m, x: x + F.interpolate(m.pos, size=4).flatten(2).transpose(1, 2),
        {"pos": own(1, WIDTH, 2, 2)},
    ),
    "map_flattened": (lambda m, x: x + m.pos.flatten(2).transpose(1, 2), {"pos": own(1, WIDTH, 4, 4)}),
    "oblong_map_flattened": (lambda m, x: x + m.pos.flatten(2).transpose(1, 2), {"pos": own(1, WIDTH, 2, 8)}),
    "map_of_channels_last": (lambda m, x: x + m.pos.flatten(1, 2), {"pos": own(1, 4, 4, WIDTH)}),
    "channels_first_in_rows": (lambda m, x: x + m.pos.t(), {"pos": own(WIDTH, 16)}),
    "rows_by_number": (lambda m, x: x + m.table[m.index], {"table": own(5, WIDTH), "index": torch.arange(16) % 5}),
    "two_axes": (
        lambda m, x: x + (m.rows.unsqueeze(1) + m.columns.unsqueeze(0)).flatten(0, 1),
        {"rows": own(4, WIDTH), "columns": own(4, WIDTH)},
    ),
    "queries": (lambda m, x: m.queries.expand(len(x), -1, -1) + x.mean(1, keepdim=True), {"queries": own(1, 4, WIDTH)}),
    "embedding_as_a_parameter": (
        lambda m, x: x + m.table.weight.unsqueeze(0).repeat(len(x), 1, 1),
        {"table": nn.Embedding(16, WIDTH)},
    ),
    "embedding": (lambda m, x: m.words(x), {"words": Ids()}),
    "beside_another_dimension": (lambda m, x: x * torch.sigmoid(m.gates[:, :16].mT), {"gates": own(1, 20)}),
}


@pytest.mark.parametrize("name", FREE)
def test_they_are_cut_with_the_stream(name: str):
    body, tensors = FREE[name]
    model, x = transformed(body, **tensors), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    graph = fl.trace(model, x)
    assert graph["embed"].protected is None, graph["embed"].protected
    plan = random_plan(graph)
    assert plan.removed["embed"]
    small = check_cut(graph, plan)
    check_trains(small, x)


PROTECTED: dict[str, tuple[Callable[[Model, Tensor], Tensor], dict, str]] = {
    "channels_by_position": (
        lambda m, x: x + m.pos[:, :, list(range(WIDTH))],
        {"pos": own(1, 16, WIDTH)},
        "takes some of its channels by fixed position",
    ),
    "used_otherwise": (
        lambda m, x: x + m.pos + m.pos.norm(),
        {"pos": own(1, 16, WIDTH)},
        "'pos' also enters 'norm'",
    ),
    "literal_size": (
        lambda m, x: x + m.pos.reshape(1, 16, 8),
        {"pos": own(1, 4, 4, WIDTH)},
        "'reshape' asks for exactly 8 of them",
    ),
    "square_table_the_other_way": (
        lambda m, x: x + (m.table[None] @ m.table[None]).expand(2, -1, -1).repeat(1, 2, 1),
        {"table": own(WIDTH, WIDTH)},
        "combines it with a tensor of fixed width",
    ),
    "rows_scaled_in_place": (lambda m, x: m.words(x), {"words": Ids(max_norm=1.0)}, "max_norm"),
}


@pytest.mark.parametrize("name", PROTECTED)
def test_what_does_not_fit_protects(name: str):
    body, tensors, reason = PROTECTED[name]
    model, x = transformed(body, **tensors), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    graph = fl.trace(model, x)
    assert reason in graph["embed"].protected
    assert graph["fc1"].protected is None
    check_cut(graph, random_plan(graph))


def test_a_table_of_embeddings_knows_its_width():
    model, x = transformed(FREE["embedding"][0], words=Ids()), torch.randn(2, 3, 8, 8)
    graph = fl.trace(model, x)
    small = fl.prune(graph, random_plan(graph))
    words = small.words.words
    assert (words.num_embeddings, words.embedding_dim) == words.weight.shape
    assert words.embedding_dim == small.embed.out_channels < WIDTH


class Biased(nn.Module):
    """Attention with a number for each head and offset, looked up once; heads of 4 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.bias_cache = 3, {}
        self.qkv, self.proj = nn.Linear(WIDTH, 36), nn.Linear(12, WIDTH)
        self.biases = own(3, 16)
        places = torch.arange(16)
        self.register_buffer("offsets", (places[:, None] - places[None, :]).abs())

    def train(self, mode: bool = True) -> Biased:
        if mode:
            self.bias_cache = {}
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if "biases" not in self.bias_cache:
            self.bias_cache["biases"] = self.biases[:, self.offsets]
        weights = (q @ k.mT + self.bias_cache["biases"]).softmax(-1)
        return x + self.proj((weights @ v).transpose(1, 2).flatten(2))


def test_what_was_computed_from_a_table_is_forgotten():
    model, x = transformed(lambda m, x: m.attention(x), attention=Biased()), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        model(x)
    kept = model.attention.bias_cache["biases"]
    graph = fl.trace(model, x)
    assert graph["attention.qkv"].protected is None
    assert graph["attention.qkv"].channels == 3  # heads
    plan = random_plan(graph)
    small = check_cut(graph, plan)
    assert model.attention.bias_cache["biases"] is kept
    assert small.attention.biases.shape == (graph["attention.qkv"].channels - len(plan.removed["attention.qkv"]), 16)


def test_a_token_made_otherwise_than_the_stream():
    """Its channels come from a linear layer, those of the stream two by two from a depthwise convolution."""

    def run(m: Model, x: Tensor) -> Tensor:
        x = m.down(m.embed(x)).flatten(2).transpose(1, 2)
        token = m.widen(m.token.expand(len(x), -1, -1))
        return m.fc(m.norm(torch.cat([token, x], 1)).mean(1))

    layers = {
        "embed": nn.Conv2d(3, 6, 2, stride=2),
        "down": nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=6),
        "token": own(1, 1, 6),
        "widen": nn.Linear(6, 12),
        "norm": nn.LayerNorm(12),
        "fc": nn.Linear(12, 5),
    }
    graph = fl.trace(busy(Model(run, layers)).eval(), torch.randn(2, 3, 8, 8))
    assert graph["embed"].protected is None
    check_cut(graph, random_plan(graph))

"""A pass that is followed tells of torch's own attention as the layers that it consists of, and changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.following import Following
from fpgmlab.graph.projections import PARTS, names_of, own_tensors, place_of
from tests.networks import busy

HEADS, WIDTH, QUERIES, WORDS, EXAMPLES = 2, 6, 4, 5, 3
NAMES = [f"attention ({part})" for part in PARTS]


class Around(nn.Module):
    """An attention that is called with what is given."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, **options)
        busy(self.double().eval())

    def forward(self, *args: object, **options: object) -> tuple[Tensor, Tensor | None]:
        return self.attention(*args, **options)


class Told(Following):
    """Holds each call of a layer to what it gives."""

    def __init__(self, model: nn.Module, layers: list[str]) -> None:
        super().__init__(model, layers)
        self.layers: list[str] = []

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        self.layers.append(layer)
        every = torch.arange(call.places)
        made = (call.rows(every) @ call.matrix())[0] + (0 if call.bias is None else call.bias)
        assert torch.allclose(made, call.at(out, every), rtol=0, atol=1e-12)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def plain(model: nn.Module, *args: object, **options: object) -> tuple[Tensor, Tensor | None]:
    """Return what torch computes in one call."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return model(*args, **options)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def followed(model: nn.Module, layers: list[str], *args: object, **options: object) -> tuple[tuple, list[str]]:
    with torch.no_grad(), Told(model, layers) as told:
        return model(*args, **options), told.layers


def check(model: nn.Module, expected: list[str], *args: object, **options: object) -> None:
    layers = [*(NAMES if model.attention.in_proj_weight is not None else ()), "attention.out_proj"]
    made, told = followed(model, layers, *args, **options)
    whole = plain(model, *args, **options)
    assert told == expected
    for ours, its in zip(made, whole, strict=True):
        assert (ours is None) == (its is None)
        if its is not None:
            torch.testing.assert_close(ours, its, rtol=0, atol=1e-10, equal_nan=True)


MODULES = [
    {},
    {"bias": False},
    {"add_zero_attn": True},
    {"add_bias_kv": True},
    {"add_bias_kv": True, "add_zero_attn": True},
    {"kdim": 5, "vdim": 3},
]


def masks(heads: bool) -> Iterator[dict[str, object]]:
    padding = torch.zeros(EXAMPLES, WORDS, dtype=torch.bool)
    padding[:, -1] = True
    hidden = torch.ones(QUERIES, WORDS).triu(2).bool()
    attention = [None, hidden, numbers(QUERIES, WORDS), *([numbers(EXAMPLES * HEADS, QUERIES, WORDS)] * heads)]
    for mask, padded in itertools.product(attention, (None, padding, torch.where(padding, -1e9, 0.0).double())):
        same = mask is None or padded is None or mask.dtype == padded.dtype  # torch warns of others
        if same:
            yield {"attn_mask": mask, "key_padding_mask": padded}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("options", MODULES, ids=str)
def test_all_options_give_what_torch_gives(options: dict, batch_first: bool):
    model = Around(batch_first=batch_first, **options)
    plain_form = model.attention.in_proj_weight is not None
    query, key, value = numbers(QUERIES, EXAMPLES, WIDTH), numbers(WORDS, EXAMPLES, WIDTH), numbers(WORDS, EXAMPLES, 6)
    if not plain_form:
        key, value = key[..., :5], value[..., :3]
    if batch_first:
        query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
    ways = [(query, key, value), *([(query, key, key)] * plain_form)]
    expected = [*(NAMES if plain_form else ()), "attention.out_proj"]
    weights = [{"need_weights": False}, {}, {"average_attn_weights": False}]
    for given, mask, wanted in itertools.product(ways, masks(heads=True), weights):
        check(model, expected, *given, **mask, **wanted)
    if plain_form:
        check(model, expected, query, query, query)
        causal = nn.Transformer.generate_square_subsequent_mask(QUERIES, dtype=torch.float64)
        for need in (False, True):
            check(model, expected, query, query, query, attn_mask=causal, is_causal=True, need_weights=need)


@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=str)
def test_one_example_without_a_dimension_for_it(options: dict):
    model = Around(**options)
    query, words = numbers(QUERIES, WIDTH), numbers(WORDS, WIDTH)
    for given in ((query, query, query), (query, words, words)):
        check(model, [*NAMES, "attention.out_proj"], *given)


def test_only_what_is_asked_for_is_told():
    model, x = Around(batch_first=True), numbers(EXAMPLES, QUERIES, WIDTH)
    assert followed(model, ["attention (keys)"], x, x, x)[1] == ["attention (keys)"]
    assert followed(model, [], x, x, x)[1] == []


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_encoders_of_torch(batch_first: bool, norm_first: bool):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 8, batch_first=batch_first, norm_first=norm_first)
    model = busy(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)).double().eval()
    names = [f"layers.{i}.{name}" for i in (0, 1) for name in ("self_attn.out_proj", "linear1", "linear2")]
    made, told = followed(model, names, x := numbers(EXAMPLES, QUERIES, WIDTH))
    assert told == names
    torch.testing.assert_close(made, plain(model, x), rtol=0, atol=1e-10)


def test_names_lead_back_to_the_rows():
    model = Around()
    modules = dict(model.named_modules())
    graph = fl.trace(nn.MultiheadAttention(WIDTH, HEADS), tuple(torch.randn(3, QUERIES, EXAMPLES, WIDTH)))
    assert [name for layer in graph.layers for name in names_of(layer)] == [*(f"({p})" for p in PARTS), "out_proj"]
    for part, name in enumerate(NAMES):
        rows = slice(part * WIDTH, (part + 1) * WIDTH)
        assert place_of(modules, name) == (model.attention, part)
        own = own_tensors(modules, name)
        assert torch.equal(own["weight"], model.attention.in_proj_weight[rows])
        assert torch.equal(own["bias"], model.attention.in_proj_bias[rows])
        assert own["weight"].data_ptr() == model.attention.in_proj_weight[rows].data_ptr()
    assert set(own_tensors(dict(Around(bias=False).named_modules()), NAMES[1])) == {"weight"}
    odd = nn.ModuleDict({"layer (keys)": nn.Linear(2, 2)})
    assert place_of(dict(odd.named_modules()), "layer (keys)") == (odd["layer (keys)"], None)

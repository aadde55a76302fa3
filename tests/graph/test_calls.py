"""A layer's call as a matrix product: rows times matrix is what torch computes, at every place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fpgmlab.graph.calls import from_matrix, layer_call

CALLS = {
    "plain": ("conv2d", (3, 4, 9, 8), (6, 4, 3, 3), {"padding": 1}),
    "strided": ("conv2d", (3, 4, 9, 8), (6, 4, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    "dilated": ("conv2d", (2, 4, 9, 8), (6, 4, 3, 3), {"dilation": 2, "padding": 2}),
    "grouped": ("conv2d", (2, 4, 9, 8), (6, 2, 3, 3), {"groups": 2}),
    "depthwise": ("conv2d", (2, 4, 9, 8), (8, 1, 3, 3), {"groups": 4, "padding": 1}),
    "same": ("conv2d", (2, 4, 9, 8), (8, 4, 3, 3), {"padding": "same", "dilation": 2}),
    "valid": ("conv1d", (2, 4, 9), (5, 4, 3), {"padding": "valid"}),
    "unbatched": ("conv2d", (4, 9, 8), (5, 4, 3, 3), {}),
    "in one dimension": ("conv1d", (2, 4, 9), (5, 4, 4), {"stride": 2, "padding": 1}),
    "in three": ("conv3d", (2, 4, 5, 6, 4), (5, 4, 3, 2, 1), {"padding": (1, 0, 0)}),
    "transposed": ("conv_transpose2d", (2, 4, 5, 6), (4, 5, 2, 2), {"stride": 2}),
    "transposed, all at once": (
        "conv_transpose2d", (2, 4, 5, 6), (4, 3, 3, 2),
        {"stride": (2, 3), "padding": 1, "output_padding": 1, "groups": 2, "dilation": (1, 2)},
    ),
    "transposed in one dimension": ("conv_transpose1d", (2, 4, 5), (4, 3, 4), {"stride": 2, "padding": 1}),
    "linear": ("linear", (5, 4), (3, 4), {}),
    "linear on tokens": ("linear", (2, 7, 4), (3, 4), {}),
}  # fmt: skip


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_rows_times_matrix_is_the_layers_output(name: str, with_bias: bool):
    function, shape, kernel, options = CALLS[name]
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, generator=generator) for size in (shape, kernel))
    outputs = kernel[1] * options.get("groups", 1) if "transpose" in function else kernel[0]
    bias = torch.randn(outputs, generator=generator) if with_bias else None
    made: Tensor = getattr(F, function)(x, weight, bias, **options)
    call = layer_call(function, (x, weight, bias), options)
    places = torch.arange(call.places)
    product = torch.cat(list(call.rows(places) @ call.matrix()), dim=-1)
    torch.testing.assert_close(product + (0 if bias is None else bias), call.at(made, places), rtol=1e-4, atol=1e-4)
    some = torch.tensor([0, call.places - 1, 1])
    assert torch.equal(call.rows(some), call.rows(places)[:, some])
    assert torch.equal(from_matrix(call.matrix(), weight, call.transposed), weight)

"""Receptive fields: what gradients reach is what the formula says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.models.convolutions import convolution
from fpgmlab.models.receptive import extent, receptive_field, receptive_field_size

CHAINS = {
    "plain": [(3, 1, 1)] * 3,
    "dilated": [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
    "strided": [(3, 2, 1), (3, 1, 1), (5, 1, 1)],
    "all": [(5, 2, 1), (3, 1, 2), (3, 2, 1), (3, 1, 1)],
}


@pytest.mark.parametrize("layers", CHAINS.values(), ids=CHAINS)
def test_the_measured_field_has_the_formulas_size(layers: list[tuple[int, int, int]]):
    torch.manual_seed(0)
    chain = nn.Sequential(*(nn.Conv2d(4, 4, k, s, d * (k - 1) // 2, d) for k, s, d in layers))
    field = receptive_field(chain, torch.randn(2, 4, 61, 61))
    assert extent(field) == (receptive_field_size(layers),) * 2
    assert receptive_field_size(layers) < 61


@pytest.mark.parametrize("kind", ["plain", "dilated", "grouped", "shuffled", "depthwise_separable"])
def test_kinds_see_what_their_kernels_see(kind: str):
    chain = nn.Sequential(convolution(kind, 8, 8), convolution(kind, 8, 8))
    assert extent(receptive_field(chain, torch.randn(1, 8, 31, 31))) == ((9, 9) if kind == "dilated" else (5, 5))


def test_a_trained_networks_layers_see_more_and_more():
    model = fl.models.load("resnet20-fashion")
    images = next(fl.tasks.fashion_mnist().val_batches(32))[0]
    before = [p.clone() for p in model.parameters()]
    sizes = [
        extent(receptive_field(model, images, layer))[0] for layer in ("conv1", "layer1.0", "layer1.1", "layer1.2")
    ]
    assert sizes == [receptive_field_size([(3, 1, 1)] * n) for n in (1, 3, 5, 7)]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_what_has_no_positions_is_named():
    model = fl.models.resnet20(channels=1)
    with pytest.raises(ValueError, match=r"must give \(batch, channels, height, width\); got \(1, 10\)"):
        receptive_field(model, torch.randn(1, 1, 28, 28))
    with pytest.raises(ValueError, match="unknown layer 'layer9'"):
        receptive_field(model, torch.randn(1, 1, 28, 28), "layer9")

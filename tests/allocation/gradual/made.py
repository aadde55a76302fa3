"""A task and a network that a training takes a moment for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import fpgmlab as fl
from tests.conftest import blobs
from tests.networks import Model, busy, conv, pooled


def task(train: int = 32, val: int = 18) -> fl.tasks.Classification:
    return fl.tasks.Classification(blobs(train), blobs(val, seed=1), classes=3, name="blobs")


def forward(m: nn.Module, x: Tensor) -> Tensor:
    x = m.norm1(m.conv1(x)).relu()
    return m.fc(pooled((m.norm2(m.conv2(x)) + x).relu() + m.conv4(m.conv3(x).relu())))


def network(seed: int = 0) -> Model:
    """Return a network with a residual sum and a branch: its groups are conv1 (with conv2 and conv4), conv3 and fc."""
    torch.manual_seed(seed)
    layers = {
        "conv1": conv(1, 12), "norm1": nn.BatchNorm2d(12), "conv2": conv(12, 12), "norm2": nn.BatchNorm2d(12),
        "conv3": conv(12, 16), "conv4": conv(16, 12), "fc": nn.Linear(12, 3),
    }  # fmt: skip
    return busy(Model(forward, layers)).eval()


def same(first: nn.Module, second: nn.Module) -> bool:
    """Tell whether two networks have the same weights, to the bit."""
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)

"""Aims bring what comes out of an activation nearer to what is wanted, and leave alone what gives it already."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fpgmlab.recovery.repairing.activations import Activation, activation

ALL = {
    "relu": (F.relu, {}), "relu6": (F.relu6, {}), "hardtanh": (F.hardtanh, {"min_val": -0.5, "max_val": 2.0}),
    "silu": (F.silu, {}), "gelu": (F.gelu, {"approximate": "tanh"}), "mish": (F.mish, {}),
    "hardswish": (F.hardswish, {}), "leaky_relu": (F.leaky_relu, {"negative_slope": 0.2}), "elu": (F.elu, {}),
    "softplus": (F.softplus, {}), "sigmoid": (torch.sigmoid, {}), "hardsigmoid": (F.hardsigmoid, {}),
    "tanh": (torch.tanh, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_an_aim_is_never_worse_than_what_is_given(name: str, seed: int):
    function, options = ALL[name]
    found = activation(name, (torch.zeros(1),), options | {"inplace": True})
    assert found == Activation(name, tuple(options.items()))
    generator = torch.Generator().manual_seed(seed)
    now, wanted = (3 * torch.randn(200, generator=generator) for _ in range(2))
    torch.testing.assert_close(found(now), function(now, **options))
    aim = found.aims(now, wanted)
    error, before = ((found(values) - found(wanted)).square() for values in (aim, now))
    assert bool((error <= before * (1 + 1e-4) + 1e-6).all())
    torch.testing.assert_close(found.aims(wanted, wanted), wanted)


def test_what_a_relu_cuts_off_alike_asks_nothing():
    aims = Activation("relu").aims(torch.tensor([-3.0, 2.0, -1.0]), torch.tensor([-1.0, -1.0, 5.0]))
    assert aims.tolist() == [-3.0, 0.0, 5.0]


def test_other_functions_are_none():
    assert activation("softmax", (), {}) is None
    assert activation("prelu", (), {}) is None

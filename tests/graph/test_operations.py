"""Rules of tracing are for torch's own functions, not for whatever has the name of one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

import fpgmlab as fl
from fpgmlab.graph.tracing.operations import operation_name


def square(x: Tensor) -> Tensor:
    """Somebody's function that shares torch's name and lets itself be overridden; it mixes channels."""
    if has_torch_function((x,)):
        return handle_torch_function(square, (x,), x)
    return x * x.flip(1)


LIBRARY = torch.library.Library("fpgmlab_tests", "DEF")
LIBRARY.define("square(Tensor x) -> Tensor")
LIBRARY.impl("square", lambda x: x * x.flip(1), "CompositeImplicitAutograd")


class Around(nn.Module):
    """A function between two convolutions."""

    def __init__(self, function) -> None:
        super().__init__()
        self.a, self.b, self.function = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.function(self.a(x))).mean((2, 3))


@pytest.mark.parametrize("function", [square, torch.ops.fpgmlab_tests.square])
def test_a_function_that_only_shares_a_name_protects(function):
    graph = fl.trace(Around(function).eval(), torch.randn(1, 3, 4, 4))
    assert "square', which mixes or hides channels" in graph["a"].protected


@pytest.mark.parametrize("function", [torch.square, Tensor.square, torch.ops.aten.square, F.relu, torch.relu_])
def test_torchs_own_are_known(function):
    graph = fl.trace(Around(function).eval(), torch.randn(1, 3, 4, 4))
    assert graph["a"].protected is None


def test_names():
    assert operation_name(Tensor.__add__) == "add"
    assert operation_name(Tensor.T.__get__) == "T"
    assert operation_name(F.softmax) == "softmax"
    assert operation_name(square) == f"{__name__}.square"

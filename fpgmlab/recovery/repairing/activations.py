"""What an activation makes of a layer's values, and what to aim at so that it makes what is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Activations by the name of their torch function: what they take beside a tensor, and how steep they are at most.
_PLAIN: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu, "relu6": F.relu6, "hardtanh": F.hardtanh, "silu": F.silu, "gelu": F.gelu, "mish": F.mish,
    "hardswish": F.hardswish, "leaky_relu": F.leaky_relu, "elu": F.elu, "softplus": F.softplus,
    "sigmoid": torch.sigmoid, "hardsigmoid": F.hardsigmoid, "tanh": torch.tanh,
}  # fmt: skip
_OPTIONS = {
    "hardtanh": ("min_val", "max_val"), "gelu": ("approximate",), "leaky_relu": ("negative_slope",), "elu": ("alpha",),
    "softplus": ("beta", "threshold"),
}  # fmt: skip
_STEEP = {"sigmoid": 0.25, "hardsigmoid": 1 / 6, "silu": 1.1, "mish": 1.1, "gelu": 1.13, "hardswish": 1.5}


@dataclass(frozen=True)
class Activation:
    """An elementwise function that follows a layer.

    Attributes
    ----------
    name : str
        Of the torch function.
    options : tuple of (str, value)
        Its arguments beside the tensor.
    """

    name: str
    options: tuple[tuple[str, float | str], ...] = ()

    def __call__(self, values: Tensor) -> Tensor:
        """Return what it makes of values."""
        return _PLAIN[self.name](values, **dict(self.options))

    @property
    def _bounds(self) -> tuple[float, float] | None:
        """Return where it cuts off what it else leaves alone; None of another activation."""
        if self.name == "hardtanh":
            options = {"min_val": -1.0, "max_val": 1.0} | dict(self.options)
            return float(options["min_val"]), float(options["max_val"])
        return {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(self.name)

    def aims(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Return values to fit next, so that what comes out gets nearer to what comes out of the wanted ones.

        Where a ReLU cuts the wanted value off, any value beyond the bound serves as well: the given one, or else the
        bound. Of smooth activations, a step down the squared difference of what comes out, as long as its curvature
        allows (a majorisation; Hunter & Lange, *Am. Stat.* 58, 2004). Either way the values that give what is wanted
        stay as they are.
        """
        if self._bounds is not None:
            low, high = self._bounds
            aim = torch.where(wanted <= low, given.clamp(max=low), wanted)
            return aim if high == math.inf else torch.where(wanted >= high, given.clamp(min=high), aim)
        with torch.enable_grad():
            at = given.detach().requires_grad_()
            out = self(at)
            (slope,) = torch.autograd.grad(out.sum(), at)
        return given - slope * (out.detach() - self(wanted)) / _STEEP.get(self.name, 1.0) ** 2


def activation(name: str, args: tuple, kwargs: dict) -> Activation | None:
    """Return the activation that a call of a torch function is; None of another function."""
    if name not in _PLAIN:
        return None
    given = dict(zip(_OPTIONS.get(name, ()), args[1:], strict=False))
    given |= {key: value for key, value in kwargs.items() if key in _OPTIONS.get(name, ())}
    return Activation(name, tuple(given.items()))

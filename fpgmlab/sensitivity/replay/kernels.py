"""A convolution with everything that can be done in its one pass over memory, as the processor does it best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

After = tuple[str, list[float], str]  # the name, numbers and algorithm of what follows a product


def _hardtanh(low: float = -1.0, high: float = 1.0) -> After:
    return "hardtanh", [low, high], ""


def _leaky_relu(slope: float = 0.01) -> After:
    return "leaky_relu", [slope], ""


def _gelu(*, approximate: str = "none") -> After:
    return "gelu", [], approximate


# What oneDNN's fused kernels know as what may follow a product, from the operator's own options.
_FUSED: dict[Callable, Callable[..., After]] = {
    torch.ops.aten.relu.default: lambda: ("relu", [], ""),
    torch.ops.aten.sigmoid.default: lambda: ("sigmoid", [], ""),
    torch.ops.aten.tanh.default: lambda: ("tanh", [], ""),
    torch.ops.aten.silu.default: lambda: ("swish", [], ""),
    torch.ops.aten.hardswish.default: lambda: ("hardswish", [], ""),
    torch.ops.aten.hardsigmoid.default: lambda: ("hardsigmoid", [], ""),
    torch.ops.aten.hardtanh.default: _hardtanh,
    torch.ops.aten.leaky_relu.default: _leaky_relu,
    torch.ops.aten.gelu.default: _gelu,
}
ACTIVATIONS = frozenset(_FUSED)
AFTER_SUM = frozenset({torch.ops.aten.relu.default})  # what the fused kernels take after a sum


@dataclass(frozen=True)
class Activation:
    """An elementwise operator and its options."""

    op: Callable
    args: tuple = ()
    kwargs: tuple[tuple[str, object], ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        return self.op(x, *self.args, **dict(self.kwargs))

    @property
    def fused(self) -> After:
        """The name, numbers and algorithm by which a fused kernel knows it."""
        return _FUSED[self.op](*self.args, **dict(self.kwargs))


@dataclass(frozen=True)
class Convolution:
    """``activation(conv(x) + other)`` by torch's own operators; batch norm is in the weights already.

    Attributes
    ----------
    stride, padding, dilation : tuple of int
    groups : int
    activation : Activation, optional
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    activation: Activation | None = None

    def pack(self, weight: Tensor, bias: Tensor | None, size: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        """Lay weight and bias out as the kernel likes them best, for inputs of a size."""
        return weight, bias

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None = None) -> Tensor:
        """Return ``activation(conv(x) + other)``, (batch, channels, ...)."""
        no_more = [0] * len(self.padding)
        y = torch.convolution(
            x.to(weight.dtype), weight, bias, self.stride, self.padding, self.dilation, False, no_more, self.groups
        )
        y = y if other is None else y + other
        return y if self.activation is None else self.activation(y)

    def into(self, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor) -> Tensor:
        """Return the same; ``other`` may be overwritten."""
        return self(x, weight, bias, other)


class Fused(Convolution):
    """The same in one kernel of oneDNN, with its own layout of the weight."""

    def pack(self, weight: Tensor, bias: Tensor | None, size: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        options = (self.padding, self.stride, self.dilation, self.groups)
        return torch.ops.mkldnn._reorder_convolution_weight(weight, *options, size), bias

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None = None) -> Tensor:
        options = (self.padding, self.stride, self.dilation, self.groups)
        after = None if self.activation is None else self.activation.fused
        x = x.to(weight.dtype)
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *options, *(after or ("none", [], "")))
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, other.to(weight.dtype), weight, bias, *options, "add", 1.0, *(after or (None, [], None))
        )

    def into(self, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor) -> Tensor:
        options = (self.padding, self.stride, self.dilation, self.groups)
        after = (None, [], None) if self.activation is None else self.activation.fused
        x, other = x.to(weight.dtype), other.to(weight.dtype)
        return torch.ops.mkldnn._convolution_pointwise_.binary(other, x, weight, bias, *options, "add", 1.0, *after)


class Pointwise(Convolution):
    """A 1x1 convolution as the product of (batch * positions, inputs) and (inputs, outputs)."""

    def pack(self, weight: Tensor, bias: Tensor | None, size: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        rows = size[0] * math.prod(_positions(weight, self, size))
        return torch.ops.mkldnn._reorder_linear_weight(weight.flatten(1).contiguous(), rows), bias

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None = None) -> Tensor:
        x = x.to(weight.dtype)[:, :, :: self.stride[0], :: self.stride[1]].permute(0, 2, 3, 1)  # (b, h, w, in)
        if other is not None:
            other = other.permute(0, 2, 3, 1).flatten(0, 2)
        y = _product(x.flatten(0, 2), weight, bias, other, self.activation)  # (b h w, out)
        return y.unflatten(0, x.shape[:3]).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class WholeMap(Convolution):
    """A convolution of a tiny map as one product over all its positions: most of its taps lie in the padding.

    Attributes
    ----------
    positions : tuple of int
        Height and width of the output.
    """

    positions: tuple[int, ...] = ()

    def pack(self, weight: Tensor, bias: Tensor | None, size: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        height, width = self.positions
        filters, channels, *kernel = weight.shape
        matrix = weight.new_zeros(height, width, filters, *size[2:], channels)
        for y, x, i, j in product(range(height), range(width), *map(range, kernel)):
            row = y * self.stride[0] + i * self.dilation[0] - self.padding[0]
            column = x * self.stride[1] + j * self.dilation[1] - self.padding[1]
            if 0 <= row < size[2] and 0 <= column < size[3]:
                matrix[y, x, :, row, column] = weight[:, :, i, j]
        matrix = matrix.flatten(3).flatten(0, 2)  # (positions out * filters, positions in * channels)
        bias = None if bias is None else bias.repeat(height * width)
        return torch.ops.mkldnn._reorder_linear_weight(matrix, size[0]), bias

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None = None) -> Tensor:
        if other is not None:
            other = other.permute(0, 2, 3, 1).flatten(1)
        y = _product(x.to(weight.dtype).permute(0, 2, 3, 1).flatten(1), weight, bias, other, self.activation)
        return y.unflatten(1, (*self.positions, -1)).permute(0, 3, 1, 2)


def best_kernel(weight: Tensor, plain: Convolution, size: tuple[int, ...], sums: bool = False) -> Convolution:
    """Return the way to compute a convolution of inputs of a size; always the same one for the same sizes.

    Parameters
    ----------
    weight : Tensor
        (filters, channels / groups, height, width).
    plain : Convolution
    size : tuple of int
        (batch, channels, height, width).
    sums : bool
        Whether something is added to its output.
    """
    options = (plain.stride, plain.padding, plain.dilation, plain.groups, plain.activation)
    if not _has_fused_kernels(weight):
        return plain
    taps, positions = math.prod(weight.shape[2:]), _positions(weight, plain, size)
    # Products beat oneDNN's convolutions but for sums over large maps, which only those do in one pass.
    small = not sums or math.prod(positions) < 16
    if plain.groups == 1 and taps == 1 and not any(plain.padding) and small:
        return Pointwise(*options)
    if plain.groups == 1 and math.prod(positions) <= 4 and math.prod(size[2:]) <= 2 * taps:
        return WholeMap(*options, positions)
    return Fused(*options)


def _has_fused_kernels(weight: Tensor) -> bool:
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()
    if not known or weight.device.type != "cpu" or weight.ndim != 4:
        return False
    low = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype == torch.float32 or low


def _positions(weight: Tensor, options: Convolution, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return height and width of a convolution's output."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(
            size[2:], options.padding, options.dilation, weight.shape[2:], options.stride, strict=True
        )
    )


def _product(
    rows: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None, activation: Activation | None
) -> Tensor:
    """Return ``activation(rows @ weight.T + bias + other)``; only without ``other`` in one kernel."""
    if other is None:
        after = ("none", [], "") if activation is None else activation.fused
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, *after)
    y = torch.ops.mkldnn._linear_pointwise.binary(rows, other.to(weight.dtype), weight, bias, "add")
    return y if activation is None else activation(y)

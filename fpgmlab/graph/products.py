"""The size of every tensor of a model as a product of two counts of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from torch import Tensor, nn

from fpgmlab.graph.layer import READERS, Axes, Layer

_Factors = tuple[int, int, int, int]  # two counts (by position), a factor, a divisor


@dataclass(frozen=True, eq=False)
class Products:
    """Sizes that are products of two counts of channels, ``counts[first] * counts[second] * factor // divisor``.

    Attributes
    ----------
    first, second : ndarray of int, (rows,)
        Positions among the counts.
    factor, divisor : ndarray of int, (rows,)
    units : mapping of str to ndarray, (rows,)
        What each row's size counts for, by the kind of cost that it enters.
    """

    first: np.ndarray
    second: np.ndarray
    factor: np.ndarray
    divisor: np.ndarray
    units: Mapping[str, np.ndarray]

    def sizes(self, counts: np.ndarray) -> np.ndarray:
        """Return the sizes at some counts, (rows,)."""
        return counts[self.first] * counts[self.second] * self.factor // self.divisor


def tensors_and_weights(model: nn.Module, layers: Sequence[Layer]) -> tuple[Products, Products]:
    """Return the sizes of all tensors, and those of the weights that each make MACs."""
    one = 2 * len(layers)
    modules = dict(model.named_modules())
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    saved = set(model.state_dict())
    factors: dict[str, _Factors] = {}
    weights: list[_Factors] = []
    positions: list[int] = []
    for i, layer in enumerate(layers):
        if layer.kind in {"computed", "by_channel"}:
            weights.append((one, 2 * i + 1, layer.numbers // len(layer.outputs), 1))
            positions.append(layer.positions)
            continue
        for name, tensor, axes in layer.tensors(modules):
            if name not in tensors:  # another layer's as well, counted there
                continue
            factors[name] = row = _factors(layer, tensor, axes, 2 * i, 2 * i + 1, one)
            if _multiplies(layer, name, tensor):
                # Of an attention's three projections each position goes through one.
                weights.append((*row[:2], 1, 3) if layer.kind == "in_projection" else row)
                positions.append(layer.positions)
    rows = [factors.get(name, (one, one, tensor.numel(), 1)) for name, tensor in tensors.items()]
    parameters = [isinstance(tensor, nn.Parameter) for tensor in tensors.values()]
    each = [tensor.element_size() if name in saved else 0 for name, tensor in tensors.items()]
    return _table(rows, params=parameters, bytes=each), _table(weights, macs=positions)


def _table(rows: Sequence[_Factors], **units: Sequence[int]) -> Products:
    first, second, factor, divisor = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Products(
        first, second, factor, divisor, {kind: np.array(each, dtype=np.int64) for kind, each in units.items()}
    )


def _factors(layer: Layer, tensor: Tensor, axes: Axes, first: int, second: int, one: int) -> _Factors:
    counts = (one if axes.inputs is None else first, one if axes.outputs is None else second)
    if None not in axes and layer.groups > 1:
        kernel = tensor.numel() * layer.groups // (len(layer.inputs) * len(layer.outputs))
        return (*counts, kernel, layer.groups)
    held = [tensor.shape[dim] for dim in axes if dim is not None]
    return (*counts, tensor.numel() // prod(held), 1)


def _multiplies(layer: Layer, name: str, tensor: Tensor) -> bool:
    """Tell whether a tensor is multiplied by the activations at each position."""
    if layer.kind == "tensor":
        return layer.positions > 0
    if layer.rule is not None:
        return tensor.ndim > 1 or name in layer.reading
    return layer.kind in READERS and name == layer.weight

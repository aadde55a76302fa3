"""The size of every tensor of a model as a product of two counts of channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from fpgmlab.graph.grouping import READERS, Layer

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
        for name, row in _layer_factors(layer, tensors, 2 * i, 2 * i + 1, one):
            factors[name] = row
            if (layer.kind == "tensor" and layer.positions) or (layer.kind in READERS and name == layer.weight):
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


def _layer_factors(
    layer: Layer, tensors: Mapping[str, Tensor], first: int, second: int, one: int
) -> Iterator[tuple[str, _Factors]]:
    if layer.kind == "tensor":
        yield layer.name, (one, second, tensors[layer.name].numel() // len(layer.outputs), 1)
        return
    for name in ("weight", "bias", "running_mean", "running_var", "in_proj_weight", "in_proj_bias"):
        full = f"{layer.name}.{name}" if layer.name else name
        if full not in tensors:
            continue
        if layer.kind in READERS and full == layer.weight:
            numbers = tensors[full].numel()
            if layer.depthwise:
                yield full, (one, second, numbers // len(layer.outputs), 1)
            else:
                kernel = numbers * layer.groups // (len(layer.inputs) * len(layer.outputs))
                yield full, (first, second, kernel, layer.groups)
        else:
            yield full, (one, second, 1, 1)

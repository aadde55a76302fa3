"""Costs of a network under any plan, by arithmetic on channel counts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from fpgmlab.common.modules import split_name
from fpgmlab.graph.grouping import PRODUCERS, Layer


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes
    ----------
    macs : int
        Multiply-accumulates of convolutions and linear layers in one forward pass of one example (1 MAC = 2 FLOPs).
    params : int
        Numbers in all parameters.
    bytes : int
        Size of all parameters and buffers that are saved.
    """

    macs: int
    params: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.macs / 1e6:,.1f} M MACs, {self.params / 1e6:,.3f} M parameters, {self.bytes / 1e6:,.2f} MB"


class CostModel:
    """Sizes of a model's tensors as products of channel counts.

    Each layer has a count of input and one of output channels. A count is linear in the channels kept of each *cell*: a
    set of channels of one group that appear equally often everywhere. Nearly always a group is one cell. So a
    cost is one small matrix-vector product and a sum of products of two counts.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], groups: Sequence[slice], other_macs: int = 0) -> None:
        sides = [side for layer in layers for side in (layer.inputs, layer.outputs)]
        self._groups = tuple(groups)
        self._other_macs = other_macs
        self._cell_of = _cells(sides, groups)
        self._sizes = np.bincount(self._cell_of)
        self._per_cell, self._fixed = _count_matrix(sides, self._cell_of)
        self._layers = tuple(layers)
        self._tensors, self._weights = _factor_tables(model, layers)

    def cost(self, removed: Mapping[int, Sequence[int]]) -> Cost:
        """Return the cost when these channels of these groups (by position) are removed."""
        kept = self._sizes.copy()
        for group, channels in removed.items():
            where = self._groups[group]
            first = self._cell_of[where.start]
            if self._sizes[first] == where.stop - where.start:
                kept[first] -= len(channels)
            else:
                np.subtract.at(kept, self._cell_of[where.start + np.asarray(channels)], 1)
        counts = self._fixed + self._per_cell @ kept
        sizes = _products(self._tensors, counts)
        macs = _products(self._weights, counts) @ self._weights[:, 4]
        return Cost(int(macs) + self._other_macs, int(sizes @ self._tensors[:, 4]), int(sizes @ self._tensors[:, 5]))

    @property
    def cells(self) -> np.ndarray:
        """The cell of each channel of all groups, (channels,)."""
        return self._cell_of

    @property
    def counts(self) -> np.ndarray:
        """Each layer's input and output channels as linear functions, (2 layers + 1, cells + 1).

        Of the channels kept of each cell, and a 1. Rows 2i and 2i + 1 are those of layer i; the last is always 1.
        """
        return np.column_stack([self._per_cell, self._fixed])

    def form(self, kind: str) -> np.ndarray:
        """Return a cost as a quadratic form, (cells + 1, cells + 1): ``z @ form @ z``, z as in `counts`.

        Parameters
        ----------
        kind : {"macs", "params", "bytes"}
        """
        table = self._weights if kind == "macs" else self._tensors
        factors = table[:, 2] * table[:, 5 if kind == "bytes" else 4] / table[:, 3]
        sides = np.zeros((len(self._fixed),) * 2)
        np.add.at(sides, (table[:, 0], table[:, 1]), factors)
        form = self.counts.T @ sides @ self.counts
        form[-1, -1] += self._other_macs if kind == "macs" else 0
        return form

    def macs_terms(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the MACs as products of two entries of z (see `counts`), each ascribed to the group that makes them.

        Returns
        -------
        places : ndarray of int, (terms, 3)
            The group, -1 for what belongs to none, and the positions of the two entries of z.
        macs : ndarray, (terms,)
            What their product is multiplied by. The sum over all terms is ``z @ form("macs") @ z``.
        """
        counts = self.counts
        of_cell = np.full(counts.shape[1], -1)
        for group, where in enumerate(self._groups):
            of_cell[np.unique(self._cell_of[where])] = group
        last = counts.shape[1] - 1
        terms: dict[tuple[int, int, int], float] = {(-1, last, last): float(self._other_macs)}
        for first, second, factor, divisor, positions in self._weights:
            for j in counts[second].nonzero()[0]:  # the channels that the layer makes
                for i in counts[first].nonzero()[0]:
                    each = counts[first, i] * counts[second, j] * factor * positions / divisor
                    place = (int(of_cell[j]), int(i), int(j))
                    terms[place] = terms.get(place, 0.0) + float(each)
        return np.array(list(terms), dtype=int).reshape(-1, 3), np.array(list(terms.values()))

    def macs_shares(self) -> np.ndarray:
        """Return each group's share of the MACs, those of the layers that make its channels, (groups,)."""
        macs = _products(self._weights, self._fixed + self._per_cell @ self._sizes) * self._weights[:, 4]
        shares = np.zeros(len(self._groups))
        group_of = np.repeat(np.arange(len(self._groups)), [g.stop - g.start for g in self._groups])
        weighted = [layer for layer in self._layers if layer.kind in PRODUCERS]
        for layer, count in zip(weighted, macs, strict=True):
            made = group_of[layer.outputs[layer.outputs >= 0]]
            shares += np.bincount(made, minlength=len(shares)) * (count / len(layer.outputs))
        return shares / max(1, macs.sum() + self._other_macs)


def _cells(sides: Sequence[np.ndarray | None], groups: Sequence[slice]) -> np.ndarray:
    """Return each channel's cell, (channels,): cells are numbered in order of group."""
    total = groups[-1].stop
    # A channel's counts over all sides, as one number: a random weight for each side.
    weights = np.random.default_rng(0).integers(1, 2**40, len(sides))
    signature = np.zeros(total, dtype=np.int64)
    for side, weight in zip(sides, weights, strict=True):
        if side is not None:
            signature += np.bincount(side[side >= 0], minlength=total) * weight
    cell_of, cells = np.zeros(total, dtype=np.int64), 0
    for group in groups:
        different, inverse = np.unique(signature[group], return_inverse=True)
        cell_of[group] = cells + inverse
        cells += len(different)
    return cell_of


def _count_matrix(sides: Sequence[np.ndarray | None], cell_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (counts per channel kept of each cell, fixed counts): (sides + 1, cells), (sides + 1,).

    The last count is always 1.
    """
    sizes = np.bincount(cell_of)
    per_cell = np.zeros((len(sides) + 1, len(sizes)), dtype=np.int64)
    fixed = np.zeros(len(sides) + 1, dtype=np.int64)
    fixed[-1] = 1
    for i, side in enumerate(sides):
        if side is not None:
            fixed[i] = int((side < 0).sum())
            per_cell[i] = np.bincount(cell_of[side[side >= 0]], minlength=len(sizes)) // sizes
    return per_cell, fixed


def _products(table: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return counts[table[:, 0]] * counts[table[:, 1]] * table[:, 2] // table[:, 3]


def _factor_tables(model: nn.Module, layers: Sequence[Layer]) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors of every tensor's size and of every weighted layer's MACs.

    Columns: two counts (by position), a factor, a divisor; then for tensors whether it is a parameter and its bytes for
    each number, for layers the positions.
    """
    one = 2 * len(layers)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    saved = set(model.state_dict())
    factors = {}
    weights = []
    for i, layer in enumerate(layers):
        for name, row in _layer_factors(layer, tensors, 2 * i, 2 * i + 1, one):
            factors[name] = row
            if layer.kind in PRODUCERS and split_name(name)[1] == "weight":
                weights.append((*row, layer.positions))
    rows = []
    for name, tensor in tensors.items():
        each = tensor.element_size() if name in saved else 0
        rows.append((*factors.get(name, (one, one, tensor.numel(), 1)), isinstance(tensor, nn.Parameter), each))
    return np.array(rows, dtype=np.int64).reshape(-1, 6), np.array(weights, dtype=np.int64).reshape(-1, 5)


def _layer_factors(
    layer: Layer, tensors: Mapping[str, Tensor], first: int, second: int, one: int
) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    if layer.kind == "tensor":
        yield layer.name, (one, second, tensors[layer.name].numel() // len(layer.outputs), 1)
        return
    for name in ("weight", "bias", "running_mean", "running_var"):
        full = f"{layer.name}.{name}" if layer.name else name
        if full not in tensors:
            continue
        if name == "weight" and layer.kind in PRODUCERS:
            numbers = tensors[full].numel()
            if layer.depthwise:
                yield full, (one, second, numbers // len(layer.outputs), 1)
            else:
                kernel = numbers * layer.groups // (len(layer.inputs) * len(layer.outputs))
                yield full, (first, second, kernel, layer.groups)
        else:
            yield full, (one, second, 1, 1)

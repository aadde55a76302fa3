"""Latency over numbers of channels as steps: how a runtime counts channels, what each layer makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LINE = 9  # counts of a side that the nearest product goes through


@dataclass(frozen=True)
class Steps:
    """How long a kernel takes over the channels of one side, the other side being equal.

    Attributes
    ----------
    block : int
        So many channels are computed together: what fills a block in part costs as much as the whole of it. The first
        block is an exception: kernels have ways of their own for few channels.
    counts : tuple of int
        Measured numbers of channels, ascending, each the top of a step.
    units : tuple of float
        What they cost, in units of 64 channels of the aligned regime.
    """

    block: int
    counts: tuple[int, ...]
    units: tuple[float, ...]

    def at(self, channels: np.ndarray) -> np.ndarray:
        """Return what so many channels cost: that of the top of their step, straight lines between measured tops."""
        channels = np.asarray(channels)
        top = np.where(channels < self.block, channels, -(-channels // self.block) * self.block)
        counts, units = np.array(self.counts, float), np.array(self.units)
        inside = np.interp(top, counts, units)
        if len(counts) < 2:
            return inside
        slope = (units[-1] - units[0]) / (counts[-1] - counts[0])
        return inside + slope * np.maximum(top - counts[-1], 0)


@dataclass(frozen=True)
class Kernel:
    """How a runtime counts the channels of one kind of layer.

    Attributes
    ----------
    alignment : (int, int)
        Numbers of input and output channels that are multiples of these go the quick way, the *aligned* regime; where
        one is not, the layer goes another.
    aligned, odd : tuple of (Steps, Steps)
        Of inputs and outputs in either regime.
    """

    alignment: tuple[int, int]
    aligned: tuple[Steps, Steps]
    odd: tuple[Steps, Steps]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Kernel:
        """Return the kernel of what JSON made of one."""
        sides = [
            tuple(Steps(side["block"], tuple(side["counts"]), tuple(side["units"])) for side in data[regime])
            for regime in ("aligned", "odd")
        ]
        (a, b), (c, d) = sides
        return cls(tuple(data["alignment"]), (a, b), (c, d))

    def quick(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return where a layer goes the quick way, bool of the counts' shape."""
        return np.asarray((inputs % self.alignment[0] == 0) & (outputs % self.alignment[1] == 0))

    def features(self, inputs: np.ndarray, outputs: np.ndarray, misfit: np.ndarray) -> np.ndarray:
        """Return what a layer's time is a sum of, with weights of its own, (rows, 10).

        In either regime: a constant, the inputs, the outputs, their product, and the outputs where they do not fit what
        comes next (``misfit``): then they change their layout, or what could be fused is not.
        """
        quick = self.quick(inputs, outputs)
        columns = []
        for regime, (taken, made) in ((quick, self.aligned), (~quick, self.odd)):
            i, o = taken.at(inputs), made.at(outputs)
            columns += [term * regime for term in (np.ones(len(i)), i, o, i * o, outputs / 64 * misfit)]
        return np.stack(columns, axis=1)


TERMS = 10  # columns of `Kernel.features`


@dataclass(frozen=True)
class Staircase:
    """The milliseconds of one layer over its numbers of input and output channels.

    Attributes
    ----------
    kernel : str
        Name of its kernel.
    inputs, outputs : int
        Channels of the unpruned layer.
    weights : tuple of float, (10,)
        Milliseconds of each of the kernel's features.
    layout : int
        Numbers of outputs that are no multiple of it do not fit the layers after it.
    beside : tuple of str
        Layers whose outputs are added to its own: where one of them does not go the quick way, they do not fit either.
    """

    kernel: str
    inputs: int
    outputs: int
    weights: tuple[float, ...]
    layout: int
    beside: tuple[str, ...]


def nearest_product(layer: Staircase, kernel: Kernel) -> np.ndarray:
    """Return c, (2, 2), of the nearest ``c00 + c01 o + c10 i + c11 i o`` over counts that waste nothing."""
    sides = []
    for channels, steps, alignment in zip((layer.inputs, layer.outputs), kernel.aligned, kernel.alignment, strict=True):
        unit = int(np.lcm(steps.block, alignment))
        tops = np.unique([*range(unit, channels, unit), channels])
        sides.append(tops[np.unique(np.linspace(0, len(tops) - 1, LINE).round().astype(int))])
    i, o = (axis.ravel() for axis in np.meshgrid(*sides, indexing="ij"))
    terms = np.stack([np.ones(len(i)), o, i, i * o], axis=1).astype(float)
    ms = kernel.features(i, o, np.zeros(len(i), bool)) @ np.array(layer.weights)
    return np.linalg.lstsq(terms, ms, rcond=None)[0].reshape(2, 2)


class Widths:
    """The numbers of channels of all layers, and what follows from them for each; for many plans at once.

    Parameters
    ----------
    counts : mapping of str to (ndarray, ndarray)
        Inputs and outputs of each layer, (rows,) each.
    kernels : mapping of str to Kernel
    """

    def __init__(self, counts: Mapping[str, tuple[np.ndarray, np.ndarray]], kernels: Mapping[str, Kernel]) -> None:
        self.counts = {name: (np.asarray(i), np.asarray(o)) for name, (i, o) in counts.items()}
        self.kernels = kernels
        self._quick: dict[str, np.ndarray] = {}

    def features(self, name: str, layers: Mapping[str, Staircase]) -> np.ndarray:
        """Return the features of a layer, (rows, 10); of ``layers`` all but the weights counts."""
        layer = layers[name]
        misfit = self.counts[name][1] % layer.layout != 0
        for other in layer.beside:
            if other not in self._quick:
                self._quick[other] = self.kernels[layers[other].kernel].quick(*self.counts[other])
            misfit = misfit | ~self._quick[other]
        return self.kernels[layer.kernel].features(*self.counts[name], misfit)

    def milliseconds(self, name: str, layers: Mapping[str, Staircase]) -> np.ndarray:
        """Return the milliseconds of a layer, (rows,)."""
        return np.asarray(self.features(name, layers) @ np.array(layers[name].weights))

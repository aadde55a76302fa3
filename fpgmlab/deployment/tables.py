"""Measured latencies of layers as tables over channel counts, and what they say of a whole plan."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.common.files import json_text, write_text
from fpgmlab.errors import unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "fpgmlab-latency/1"


@dataclass(frozen=True)
class Grid:
    """The latency of one shape of layer.

    Attributes
    ----------
    inputs, outputs : tuple of int
        Measured numbers of channels, ascending; the last are those of the unpruned layer.
    ms : tuple of tuple of float
        Milliseconds, a row for each number of inputs.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ms: tuple[tuple[float, ...], ...]

    def at(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return the milliseconds at any counts: straight lines between measured ones, the least one below them."""
        values = np.array(self.ms)
        row, down = _between(inputs, np.array(self.inputs))
        column, right = _between(outputs, np.array(self.outputs))
        below, beside = np.minimum(row + 1, len(self.inputs) - 1), np.minimum(column + 1, len(self.outputs) - 1)
        upper = values[row, column] * (1 - right) + values[row, beside] * right
        lower = values[below, column] * (1 - right) + values[below, beside] * right
        return upper * (1 - down) + lower * down

    def bilinear(self) -> np.ndarray:
        """Return c, (2, 2), of the nearest ``c00 + c01 o + c10 i + c11 i o`` in least squares."""
        i, o = (axis.ravel().astype(float) for axis in np.meshgrid(self.inputs, self.outputs, indexing="ij"))
        terms = np.stack([np.ones_like(i), o, i, i * o], axis=1)
        return np.linalg.lstsq(terms, np.array(self.ms).ravel(), rcond=None)[0].reshape(2, 2)


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of each layer over its numbers of input and output channels; made by `fpgmlab.latency_table`.

    Attributes
    ----------
    grids : mapping of str to Grid
        By the first layer of that shape.
    layers : mapping of str to str
        For each convolution and linear layer the name of its grid.
    calls : mapping of str to int
        How often each runs in one forward pass.
    runtime : str
    batch : int
        Examples in one forward pass.
    """

    grids: Mapping[str, Grid]
    layers: Mapping[str, str]
    calls: Mapping[str, int]
    runtime: str
    batch: int

    @property
    def frame(self) -> pd.DataFrame:
        """The measurements: layer (the first of its shape), layers (how many have it), inputs, outputs, ms."""
        import pandas as pd

        sharing = list(self.layers.values())
        rows = [
            (name, sharing.count(name), i, o, ms)
            for name, grid in self.grids.items()
            for i, row in zip(grid.inputs, grid.ms, strict=True)
            for o, ms in zip(grid.outputs, row, strict=True)
        ]
        return pd.DataFrame(rows, columns=["layer", "layers", "inputs", "outputs", "ms"])

    def latency(self, graph: ChannelGraph, plan: Plan | None = None) -> float:
        """Return the sum of the layers' latencies under a plan, in ms; what lies between the layers is not in it.

        Raises
        ------
        ValueError
            When the plan or the table is of another network.
        """
        kept = graph.costs.vector(None if plan is None else graph.keep(plan))
        return float(self.milliseconds(graph, (graph.costs.counts @ kept)[None])[0])

    def milliseconds(self, graph: ChannelGraph, counts: np.ndarray) -> np.ndarray:
        """Return the latency for many rows of `fpgmlab.graph.costs.CostModel.counts`, (rows, counts) -> (rows,)."""
        total = np.zeros(len(counts))
        for i, name in self.places(graph):
            grid = self.grids[self.layers[name]]
            # A table of one row is that of a depthwise layer: its inputs are its outputs.
            total += self.calls[name] * grid.at(counts[:, 2 * i], counts[:, 2 * i + 1])
        return total

    def form(self, graph: ChannelGraph) -> np.ndarray:
        """Return the nearest quadratic form, as `CostModel.form` has for MACs: it leads the search."""
        counts = graph.costs.counts
        sides = np.zeros((len(counts),) * 2)
        for i, name in self.places(graph):
            rows = np.array([len(counts) - 1, 2 * i])[:, None]
            columns = np.array([len(counts) - 1, 2 * i + 1])[None]
            sides[rows, columns] += self.calls[name] * self.grids[self.layers[name]].bilinear()
        return counts.T @ sides @ counts

    def places(self, graph: ChannelGraph) -> list[tuple[int, str]]:
        """Return each layer of the table with its position among the graph's; refuse the table of another network."""
        at = {layer.name: i for i, layer in enumerate(graph.layers)}
        for name, source in self.layers.items():
            if name not in at:
                raise ValueError(f"the latency table is of another network: {unknown('layer', name, at)}")
            layer, grid = graph.layers[at[name]], self.grids[source]
            if len(layer.outputs) != grid.outputs[-1]:
                raise ValueError(
                    f"the latency table is of another network: layer {name!r} has {len(layer.outputs)} outputs here, "
                    f"{grid.outputs[-1]} in the table"
                )
        return [(at[name], name) for name in self.layers]

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the table as JSON text, and write it to ``path`` when given."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        if path is not None:
            write_text(path, text)
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> LatencyTable:
        """Read a table from a file, or from JSON text.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When it is not a latency table.
        """
        text, name = json_text(source)
        try:
            data = json.loads(text)
            if data.pop("format") != FORMAT:
                raise ValueError(f"not the format {FORMAT!r}")
            grids = {
                name: Grid(tuple(g["inputs"]), tuple(g["outputs"]), tuple(map(tuple, g["ms"])))
                for name, g in data.pop("grids").items()
            }
            return cls(grids, **data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name} is not a latency table of fpgmlab: {error}") from error


def _between(counts: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each count the measured one at or below it (by position), and how far it is to the next, 0 to 1."""
    counts = np.clip(counts, measured[0], measured[-1])
    at = np.searchsorted(measured, counts, side="right") - 1
    after = np.minimum(at + 1, len(measured) - 1)
    return at, (counts - measured[at]) / np.maximum(measured[after] - measured[at], 1)

"""Latency tables: the staircases of all layers of a network, and what they say of a plan; JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.common.files import json_text, write_text
from fpgmlab.common.numbers import counted
from fpgmlab.common.warned import warn
from fpgmlab.deployment.machine import Machine
from fpgmlab.deployment.staircases.steps import Kernel, Staircase, Widths, nearest_product
from fpgmlab.errors import unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "fpgmlab-latency/2"
STEP = 0.02  # of a layer's time: what is a step
MOST = 0.8  # of the time
FAR_OFF = 0.2  # of the time; a quiet machine's tables are off by a few hundredths


@dataclass(frozen=True, repr=False)
class LatencyTable:
    """Milliseconds of each layer over its numbers of input and output channels; made by `fpgmlab.latency_table`.

    The layers' milliseconds and ``overhead`` add up to the network's: they were measured inside it, and what follows a
    layer (activation, sum, change of layout, what takes each channel by itself) counts as its own.

    Attributes
    ----------
    kernels : mapping of str to Kernel
        How the runtime counts channels, by kind of layer.
    layers : mapping of str to Staircase
    overhead : float
        Milliseconds that belong to no layer.
    machine : Machine
        Where it was measured, with which runtime.
    dtype : {"float32", "int8"}
    batch : int
        Examples in one forward pass.
    error : float
        Root of the mean square of ``predicted / measured - 1`` over the networks that it was fitted to.
    """

    kernels: Mapping[str, Kernel]
    layers: Mapping[str, Staircase]
    overhead: float
    machine: Machine
    dtype: str
    batch: int
    error: float

    def __repr__(self) -> str:
        """Return in a line what it is of; `frame` and `steps` show what is in it."""
        of = f"{counted(len(self.layers), 'layer')}, {self.dtype}, in {self.runtime} on {self.machine.processor}"
        return f"LatencyTable of {of}: {self.overhead + sum(self.whole.values()):.3g} ms unpruned, ± {self.error:.1%}"

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self.machine.runtime

    @property
    def multiple(self) -> int:
        """The step of the kernels that most of the time is spent in: what lies between its multiples is wasted."""
        spent: dict[int, float] = {}
        for name, ms in self.whole.items():
            block = max(steps.block for steps in self.kernels[self.layers[name].kernel].aligned)
            spent[block] = spent.get(block, 0.0) + ms
        return max(spent, key=lambda block: spent[block], default=1)

    @property
    def alignment(self) -> int:
        """The least number whose multiples keep layers with most of the time on their quick way."""
        spent: dict[int, float] = {}
        for name, ms in self.whole.items():
            unit = math.lcm(*self.kernels[self.layers[name].kernel].alignment)
            spent[unit] = spent.get(unit, 0.0) + ms
        for unit in sorted(spent):
            if sum(ms for each, ms in spent.items() if unit % each == 0) >= MOST * sum(spent.values()):
                return unit
        return math.lcm(*spent)

    @property
    def whole(self) -> dict[str, float]:
        """The milliseconds of each layer of the unpruned network."""
        widths = Widths(
            {n: (np.array([ly.inputs]), np.array([ly.outputs])) for n, ly in self.layers.items()}, self.kernels
        )
        return {name: float(widths.milliseconds(name, self.layers)[0]) for name in self.layers}

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each layer: layer, kernel, inputs, outputs, ms (unpruned), block and alignment of either side."""
        import pandas as pd

        rows = []
        for (name, layer), ms in zip(self.layers.items(), self.whole.values(), strict=True):
            kernel = self.kernels[layer.kernel]
            blocks = [steps.block for steps in kernel.aligned]
            rows.append((name, layer.kernel, layer.inputs, layer.outputs, ms, *blocks, *kernel.alignment))
        columns = ["layer", "kernel", "inputs", "outputs", "ms", "input_block", "output_block"]
        columns += ["input_alignment", "output_alignment"]
        return pd.DataFrame(rows, columns=columns)

    def steps(self, layer: str) -> pd.DataFrame:
        """Return a layer's time over its channels, on one side and then the other, the other side whole.

        A `ValueError` for a layer that the table does not have.

        Returns
        -------
        pandas.DataFrame
            side ("inputs" or "outputs"), channels, ms, quick (whether the layer goes its quick way), and top (whether
            the next count that fits would cost more: the last of its step).
        """
        import pandas as pd

        if layer not in self.layers:
            raise ValueError(unknown("layer", layer, self.layers))
        mine, kernel = self.layers[layer], self.kernels[self.layers[layer].kernel]
        parts = []
        for place, side in enumerate(("inputs", "outputs")):
            channels = np.arange(1, (mine.inputs, mine.outputs)[place] + 1)
            counts = [np.full(len(channels), n) for n in (mine.inputs, mine.outputs)]
            counts[place] = channels
            quick = kernel.quick(*counts)
            misfit = counts[1] % mine.layout != 0
            ms = kernel.features(counts[0], counts[1], misfit) @ np.array(mine.weights)
            fit = np.flatnonzero(quick & ~misfit)
            top = np.zeros(len(channels), dtype=bool)
            top[fit] = np.append(ms[fit][1:], np.inf) > ms[fit] * (1 + STEP)
            parts.append(pd.DataFrame({"side": side, "channels": channels, "ms": ms, "quick": quick, "top": top}))
        return pd.concat(parts, ignore_index=True)

    def latency(self, graph: ChannelGraph, plan: Plan | None = None) -> float:
        """Return the latency of a graph's network under a plan, in ms.

        Raises
        ------
        ValueError
            When the plan or the table is of another network.
        """
        kept = graph.costs.vector(None if plan is None else graph.keep(plan))
        return float(self.milliseconds(graph, (graph.costs.counts @ kept)[None])[0])

    def by_layer(self, graph: ChannelGraph, plan: Plan | None = None) -> dict[str, float]:
        """Return the milliseconds of each layer of a graph under a plan."""
        kept = graph.costs.vector(None if plan is None else graph.keep(plan))
        widths = self._widths(graph, (graph.costs.counts @ kept)[None])
        return {name: float(widths.milliseconds(name, self.layers)[0]) for name in self.layers}

    def milliseconds(self, graph: ChannelGraph, counts: np.ndarray) -> np.ndarray:
        """Return the latency for many rows of `fpgmlab.graph.costs.CostModel.counts`, (rows, counts) -> (rows,)."""
        widths = self._widths(graph, counts)
        return np.asarray(self.overhead + sum(widths.milliseconds(name, self.layers) for name in self.layers))

    def _widths(self, graph: ChannelGraph, counts: np.ndarray) -> Widths:
        counts = counts.astype(int)
        sides = {name: (counts[:, 2 * i], counts[:, 2 * i + 1]) for i, name in self.places(graph)}
        return Widths(sides, self.kernels)

    def form(self, graph: ChannelGraph) -> np.ndarray:
        """Return the nearest quadratic form, (n, n), as ``graph.costs`` has one for MACs: it leads the search."""
        counts = graph.costs.counts
        sides = np.zeros((len(counts),) * 2)
        for i, name in self.places(graph):
            rows = np.array([len(counts) - 1, 2 * i])[:, None]
            columns = np.array([len(counts) - 1, 2 * i + 1])[None]
            sides[rows, columns] += nearest_product(self.layers[name], self.kernels[self.layers[name].kernel])
        sides[-1, -1] += self.overhead
        return counts.T @ sides @ counts

    def places(self, graph: ChannelGraph) -> list[tuple[int, str]]:
        """Return each layer with its position among the graph's; a `ValueError` for the table of another network."""
        at = {layer.name: i for i, layer in enumerate(graph.layers)}
        for name, staircase in self.layers.items():
            if name not in at:
                raise ValueError(f"the latency table is of another network: {unknown('layer', name, at)}")
            layer = graph.layers[at[name]]
            for side, there, here in (
                ("inputs", staircase.inputs, len(layer.inputs)), ("outputs", staircase.outputs, len(layer.outputs)),
            ):  # fmt: skip
                if here != there:
                    raise ValueError(
                        f"the latency table is of another network: layer {name!r} has {here} {side} here, "
                        f"{there} in the table"
                    )
        return [(at[name], name) for name in self.layers]

    def warn_of_doubts(self) -> None:
        """Warn when the table was measured on another machine or another version of the runtime, or is far off."""
        other = self.machine.unlike(Machine.here(self.runtime, self.machine.threads))
        if other is not None:
            warn(
                f"the latency table was measured elsewhere: {other}. It tells of that machine; measure one here by "
                "fpgmlab.latency_table(graph) when the network is to run here.",
            )
        if self.error > FAR_OFF:
            warn(
                f"the latency table is off by ± {self.error:.1%} for the networks that it was fitted to, as when the "
                "machine was busy: milliseconds planned by it are as far off. Measure again while little else runs, "
                "or with more rounds=."
            )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the table as JSON text, and write it to ``path`` when given."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        if path is not None:
            write_text(path, text)
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> LatencyTable:
        """Return a table from a source: the path of a file, or JSON text.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When it is not a latency table, or one from before staircases.
        """
        text, name = json_text(source)
        try:
            data = json.loads(text)
            kind = data.pop("format")
            if kind == "fpgmlab-latency/1":
                raise ValueError(
                    "it has straight lines between a few counts, and does not say on which machine: measure it anew by "
                    "fpgmlab.latency_table(graph)"
                )
            if kind != FORMAT:
                raise ValueError(f"not the format {FORMAT!r}")
            kernels = {name: Kernel.of(kernel) for name, kernel in data.pop("kernels").items()}
            layers = {
                name: Staircase(**{**ly, "weights": tuple(ly["weights"]), "beside": tuple(ly["beside"])})
                for name, ly in data.pop("layers").items()
            }
            machine = data.pop("machine")
            where = Machine(**{**machine, "extensions": tuple(machine["extensions"])})
            return cls(kernels=kernels, layers=layers, machine=where, **data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name} is not a latency table of this fpgmlab: {error}") from error

"""What the plan editor's browser side works with: groups, an exact cost model, curves and latencies, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.allocation.degradation import Degradation, degradations
from fpgmlab.common.modules import stage
from fpgmlab.common.processor import channel_block
from fpgmlab.deployment import LatencyTable
from fpgmlab.deployment.machine import Machine
from fpgmlab.deployment.staircases.steps import Steps
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.plans.rounding import Scores, lowest, unit_of
from fpgmlab.sensitivity import Curves
from fpgmlab.widgets.desk.steps import ends_of_steps

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, object]


def desk_payload(
    graph: ChannelGraph,
    curves: Curves,
    scores: Scores,
    max_ratio: float = 1.0,
    table: LatencyTable | None = None,
    as_cut: Curves | None = None,
) -> Json:
    """Return everything that the browser needs to compute what a plan costs and degrades.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        May lack groups.
    scores : mapping of str to Tensor
        The channels with the lowest go first: where a group's channels do not all cost the same, it matters.
    max_ratio : float
        No group loses more than this fraction.
    table : LatencyTable, optional
    as_cut : Curves, optional
        Curves of points as cut, beside ``curves`` of repaired ones: another background, from which nothing is
        predicted.

    Returns
    -------
    dict
        Of what JSON knows. ``groups``: a list, in network order; with a table each has its ``steps``, the numbers of
        channels worth keeping (see `fpgmlab.widgets.desk.steps`). ``layers``: names of those that make or read groups,
        in order of execution. ``cells``: the sizes of all cells. ``macs``, ``sizes``: terms of the costs, products of
        two entries of z, the channels kept of each cell and a 1 (see
        `fpgmlab.graph.costs.CostModel`). ``repaired``: whether the curves are of repaired points. ``metrics``: name,
        unpruned value, and a curve, or None, for each group; ``as_cut``: the same of those curves, or None.
        ``block``: channels that runtimes compute at once here. ``latency``: the table's kernels, and its layers' counts
        over z with the group that each makes; or None.

    Raises
    ------
    ValueError
        When the curves or the table are of another network, and for ``as_cut`` that are not what they should be.
    """
    steps = {} if table is None else ends_of_steps(graph, scores, table, max_ratio)
    others = _as_cut(graph, curves, as_cut)
    return {
        "network": type(graph.model).__name__,
        "groups": [_group(graph, name, scores, max_ratio) | {"steps": steps.get(name)} for name in graph],
        "layers": _layers(graph),
        "cells": np.bincount(graph.costs.cells).tolist(),
        "macs": _macs(graph),
        "sizes": _sizes(graph),
        "repaired": curves.repaired,
        "metrics": [_metric(graph, curves, name) | {"as_cut": others.get(name)} for name in finite_metrics(curves)],
        "block": channel_block(),
        "latency": None if table is None else _latency(graph, table),
    }


def _layers(graph: ChannelGraph) -> list[str]:
    """Return the layers that make or read channels of groups, in order of execution."""
    known = {name for group in graph.values() for name in (*group.producers, *group.consumers)}
    return [name for name in dict.fromkeys(layer.name for layer in graph.layers) if name in known]


def plain(value: object) -> object:
    """Return a value, and None for a number that JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain_row(row: Mapping[str, object]) -> Json:
    """Return values by name, and None for numbers that JSON does not know."""
    return {name: plain(value) for name, value in row.items()}


def finite_metrics(curves: Curves) -> list[str]:
    """Return the metrics whose value of the unpruned network is a number."""
    return [name for name, value in curves.base.items() if math.isfinite(value)]


def cells_kept(graph: ChannelGraph, name: str, removed: tuple[int, ...]) -> list[int]:
    """Return how many channels of each of a group's cells stay when some of its channels go."""
    mine = graph.costs.cells[graph.channels_of(name)]
    first = int(mine.min())
    stay = np.delete(mine, list(removed)) - first
    return np.bincount(stay, minlength=int(mine.max()) - first + 1).tolist()


def _group(graph: ChannelGraph, name: str, scores: Scores, max_ratio: float) -> Json:
    group = graph[name]
    mine = graph.costs.cells[graph.channels_of(name)]
    first, count = int(mine.min()), int(mine.max() - mine.min()) + 1
    return {
        "name": name,
        "channels": group.channels,
        "many": group.counted(2).removeprefix("2 "),  # what they are: channels, or heads of 32 channels
        "filters": group.unit,  # channels of a layer that each of them stands for
        "step": group.step,
        "unit": unit_of(group, "runtime"),
        "least": max(group.least, math.ceil((1 - max_ratio) * group.channels - 1e-9)),
        "protected": group.protected,
        "stage": stage(name),
        "producers": list(group.producers),
        "consumers": list(group.consumers),
        "first": first,  # its first cell
        "cells": count,
        # Where channels of a group cost differently: what each number of kept channels leaves of each cell.
        "table": _cell_table(graph, group, scores) if count > 1 and group.protected is None else None,
    }


def _cell_table(graph: ChannelGraph, group: ChannelGroup, scores: Scores) -> list[list[int]]:
    """Return for step, 2 step, ... channels kept how many stay of each cell."""
    counts = range(group.step, group.channels + 1, group.step)
    return [cells_kept(graph, group.name, lowest(group, scores, group.channels - kept)) for kept in counts]


def _macs(graph: ChannelGraph) -> Json:
    terms = graph.costs.macs_terms
    return {
        "group": terms.groups.tolist(),
        "i": terms.first.tolist(),
        "j": terms.second.tolist(),
        "macs": terms.macs.tolist(),
    }


def _sizes(graph: ChannelGraph) -> Json:
    params, size = (graph.costs.form(kind) for kind in ("params", "bytes"))
    params, size = (np.triu(each + np.tril(each, -1).T) for each in (params, size))
    i, j = ((params != 0) | (size != 0)).nonzero()
    return {"i": i.tolist(), "j": j.tolist(), "params": params[i, j].tolist(), "bytes": size[i, j].tolist()}


def _metric(graph: ChannelGraph, curves: Curves, name: str) -> Json:
    known = degradations(graph, curves, name)
    frame = curves.frame
    frame = frame[frame["metric"] == name].sort_values("kept", ascending=False)
    tables = dict(iter(frame.groupby("group", sort=False)))
    unmeasurable = set(curves.unmeasurable)
    return {
        "name": name,
        "value": float(curves.base[name]),
        "higher_is_better": curves.higher_is_better(name),
        "share": curves.is_share(name),
        "samples": curves.whole[name].samples,
        "curves": [
            _curve(known[group], tables[group]) if group in known and group not in unmeasurable else None
            for group in graph
        ],
        "unmeasurable": [group in unmeasurable for group in graph],
    }


def _as_cut(graph: ChannelGraph, curves: Curves, as_cut: Curves | None) -> dict[str, Json]:
    """Return by name what is shown of curves as cut, beside repaired ones."""
    if as_cut is None:
        return {}
    if as_cut.repaired:
        raise ValueError("as_cut must be curves of points as cut; these are of repaired points: give them as curves")
    if not curves.repaired:
        raise ValueError("as_cut goes beside curves of repaired points; the curves are as cut already: leave it out")
    try:
        return {name: _metric(graph, as_cut, name) for name in finite_metrics(as_cut)}
    except ValueError as error:
        raise ValueError(f"as_cut: {error}") from None


def _curve(curve: Degradation, table: pd.DataFrame) -> Json | None:
    """Return a curve by falling number of kept channels, as its table is, up to its last finite point, or None."""
    known = len(curve.kept)
    if known < 2:
        return None
    return {
        "kept": curve.kept.tolist(),
        "drop": _short(curve.drop),
        **{name: _short(table[name].to_numpy()[:known]) for name in ("value", "low", "high")},
    }


def _short(values: np.ndarray) -> list[float | None]:
    """Return numbers with seven digits, and None for those that JSON does not know."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]


def _owners(graph: ChannelGraph) -> list[int]:
    """Return the position of the group that each entry of z belongs to; -1 for the last, the 1."""
    owner = np.full(int(graph.costs.cells.max()) + 2, -1)
    for place, name in enumerate(graph):
        owner[graph.costs.cells[graph.channels_of(name)]] = place
    return owner.tolist()


def _latency(graph: ChannelGraph, table: LatencyTable) -> Json:
    counts = graph.costs.counts

    def linear(row: int) -> list[list[int]]:
        return [[int(cell), int(counts[row, cell])] for cell in counts[row].nonzero()[0]]

    def steps(side: Steps) -> Json:
        return {"block": side.block, "counts": side.counts, "units": side.units}

    owner = _owners(graph)
    places = table.places(graph)
    kernels, names = list(table.kernels), [name for _, name in places]
    return {
        "runtime": table.runtime,
        "batch": table.batch,
        # In what the machine of the table differs from this one, in words.
        "elsewhere": table.machine.unlike(Machine.here(table.runtime, table.machine.threads)),
        "overhead": table.overhead,
        "kernels": [
            {"alignment": kernel.alignment, "aligned": [*map(steps, kernel.aligned)], "odd": [*map(steps, kernel.odd)]}
            for kernel in table.kernels.values()
        ],
        "layers": [
            {"inputs": linear(2 * i), "outputs": linear(2 * i + 1), "kernel": kernels.index(table.layers[name].kernel),
             "weights": table.layers[name].weights, "layout": table.layers[name].layout,
             "group": max((owner[cell] for cell, _ in linear(2 * i + 1)), default=-1),
             "beside": [names.index(other) for other in table.layers[name].beside]}
            for i, name in places
        ],
    }  # fmt: skip

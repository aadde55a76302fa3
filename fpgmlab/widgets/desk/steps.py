"""The numbers of channels at the ends of a latency table's steps: what lies between them is wasted."""

from __future__ import annotations

import math

import numpy as np

from fpgmlab.allocation.problem import problem
from fpgmlab.allocation.staircase import Stairs, without_waste
from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.rounding import Scores, allowed_kept


def ends_of_steps(
    graph: ChannelGraph, scores: Scores, table: LatencyTable, max_ratio: float = 1.0
) -> dict[str, list[int]]:
    """Return for each group that may be pruned the counts worth keeping, ascending; the last is all of them.

    These are the counts that `fpgmlab.allocate` chooses between for a budget of latency: nothing that keeps more of the
    group takes no more time, all other groups whole. Groups without a layer in the table have all of them only.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        The channels with the lowest go first: where a group's channels do not all cost the same, it matters.
    table : LatencyTable
    max_ratio : float
        No group loses more than this fraction.

    Raises
    ------
    ValueError
        When the table is of another network.
    """
    unit = table.alignment
    options = {}
    for name, group in graph.items():
        if group.protected is None:
            least = math.ceil((1 - max_ratio) * group.channels - 1e-9)
            kept = np.array([count for count in allowed_kept(group, unit) if count >= least])[::-1]
            options[name] = (kept, np.zeros(len(kept)))
    choices = problem(graph, scores, options, table.form(graph))
    ends = without_waste(choices, Stairs(choices, graph, table))
    return {name: np.sort(kept[end]).tolist() for (name, (kept, _)), end in zip(options.items(), ends, strict=True)}

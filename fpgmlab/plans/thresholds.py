"""One threshold for the whole network: how many channels of each group lie below it, and where its cliff is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.plans.rounding import Scores, checked_scores, prunable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class GlobalCut:
    """A threshold on the scores of all prunable groups.

    Attributes
    ----------
    value : float
        The lowest score above it: channels with lower scores are below. Infinite when all are below.
    below : dict of str to int
        How many channels of each prunable group lie below.
    """

    value: float
    below: dict[str, int]


def global_cut(graph: ChannelGraph, scores: Scores, ratio: float, protect: Sequence[str] = ()) -> GlobalCut:
    """Return the threshold below which a share of all channels of the prunable groups lies.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        (channels,) for each prunable group.
    ratio : float
        0 <= ratio <= 1. Of equal scores those of earlier groups go below first.
    protect : sequence of str
        Names of groups that are left out as well.

    Raises
    ------
    ValueError
        For an unknown group, scores that are missing, of wrong length or NaN, and when all groups are protected.

    Examples
    --------
    >>> cut = fl.thresholds.global_cut(graph, fl.score(graph, "bn_gamma"), 0.3)
    >>> sum(cut.below.values())
    134
    """
    names, owner, values = _pooled(graph, scores, protect)
    order = np.argsort(values, kind="stable")
    count = math.floor(ratio * len(values) + 1e-9)
    below = np.bincount(owner[order[:count]], minlength=len(names))
    value = float(values[order[count]]) if count < len(values) else math.inf
    return GlobalCut(value, dict(zip(names, below.tolist(), strict=True)))


def floors(graph: ChannelGraph, scores: Scores, floor: float = 0.0) -> pd.DataFrame:
    """Return when each prunable group meets its floor as the global ratio rises: the first is the cliff.

    Beyond it whole layers lie below the threshold; what is left of them no longer depends on their scores.

    Parameters
    ----------
    graph, scores
        As in `global_cut`.
    floor : float
        The share of its channels that each group keeps, at least one; as in `fpgmlab.Plan.global_threshold`.

    Returns
    -------
    pandas.DataFrame
        Columns group, channels, least (how many it keeps at its floor), ratio (the global ratio at which the
        threshold reaches the first channel that the floor holds back), by ascending ratio.

    Raises
    ------
    ValueError
        As `global_cut`.

    Examples
    --------
    >>> table = fl.thresholds.floors(graph, fl.score(graph, "bn_gamma"))
    >>> table["group"][0], round(float(table["ratio"][0]), 2)
    ('layer3.1.conv1', 0.7)
    """
    import pandas as pd

    names, owner, values = _pooled(graph, scores)
    rank = np.empty(len(values))
    rank[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    rows = []
    for i, name in enumerate(names):
        group = graph[name]
        least = least_kept(group, floor)
        held = np.sort(rank[owner == i])[group.channels - least]
        rows.append((name, group.channels, least, held / len(values)))
    frame = pd.DataFrame(rows, columns=["group", "channels", "least", "ratio"])
    return frame.sort_values("ratio", kind="stable", ignore_index=True)


def least_kept(group: ChannelGroup, floor: float) -> int:
    """Return how many channels a group keeps at least: its floor, and one in each block and part."""
    return max(group.least, math.ceil(floor * group.channels - 1e-9))


def _pooled(
    graph: ChannelGraph, scores: Scores, protect: Sequence[str] = ()
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the prunable groups, and for each of their channels its group's number and its score."""
    names = prunable(graph, protect)
    if not names:
        raise ValueError("every group of the graph is protected: no threshold can remove anything")
    each = [checked_scores(graph[name], scores) for name in names]
    return names, np.repeat(np.arange(len(names)), [len(e) for e in each]), np.concatenate(each)

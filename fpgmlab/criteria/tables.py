"""Scores and norms of every channel, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fpgmlab.geometry import distance_sums
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan

if TYPE_CHECKING:
    import pandas as pd


def score_table(graph: ChannelGraph, scores: Mapping[str, Tensor], plan: Plan) -> pd.DataFrame:
    """Return the score of every channel, and whether a plan removes it.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        (channels,) by group; groups without scores are left out.
    plan : Plan

    Returns
    -------
    pandas.DataFrame
        Columns group, channel, score, removed, protected (the reason, or empty).

    Raises
    ------
    ValueError
        For a plan that does not fit the graph, scores of wrong length, and when no group has any.

    Examples
    --------
    >>> int(fl.criteria.score_table(graph, scores, plan)["removed"].sum())
    180
    """
    import pandas as pd

    graph.check(plan)
    parts = []
    for name, group in graph.items():
        if name not in scores:
            continue
        values = scores[name].detach().cpu().double().numpy()
        if values.shape != (group.channels,):
            raise ValueError(f"scores of group {name!r} must be ({group.channels},); got {values.shape}")
        channels = np.arange(group.channels)
        gone = np.isin(channels, plan.removed.get(name, ()))
        columns = {
            "group": name,
            "channel": channels,
            "score": values,
            "removed": gone,
            "protected": group.protected or "",
        }
        parts.append(pd.DataFrame(columns))
    if not parts:
        raise ValueError(f"no scores for any of the {len(graph)} groups of the graph; got {list(scores)[:12]}")
    return pd.concat(parts, ignore_index=True)


def norms_and_distances(source: Mapping[str, Tensor]) -> pd.DataFrame:
    """Return the norm of each filter and the sum of its distances to the others of its layer.

    Parameters
    ----------
    source : mapping of str to Tensor
        Filters by layer, (filters, ...) each: the weights of convolutions.

    Returns
    -------
    pandas.DataFrame
        Columns layer, filter, norm, distance: a row for each filter, in order.

    Raises
    ------
    ValueError
        For weights that are not (filters, ...) or not finite, with the layer.
    """
    import pandas as pd

    parts = []
    for name, weights in source.items():
        if not isinstance(weights, Tensor) or weights.ndim < 2:
            raise ValueError(
                f"layer {name!r} must have filters (n, ...); got {getattr(weights, 'shape', type(weights).__name__)}"
            )
        points = weights.detach().flatten(1).double().cpu()
        try:
            distances = distance_sums(points)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
        values = {"norm": points.norm(dim=1).numpy(), "distance": distances.numpy()}
        parts.append(pd.DataFrame({"layer": name, "filter": np.arange(len(points)), **values}))
    columns = ["layer", "filter", "norm", "distance"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def relative_norms(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with the norms as shares of their layer's mean; 0 where all are 0."""
    for column in ("layer", "norm"):
        if column not in frame:
            raise ValueError(
                f"the frame must have columns layer and norm, as from norms_and_distances; {column!r} is missing"
            )
    if frame.empty:
        raise ValueError("the frame has no rows: give at least one layer with filters")
    mean = frame.groupby("layer", sort=False)["norm"].transform("mean")
    return frame.assign(relative=frame["norm"] / mean.where(mean > 0, 1.0))

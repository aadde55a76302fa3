"""What `GammaPanel` shows, as data: one threshold for the whole network, and what is left of each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fpgmlab.criteria import score
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.costs import Cost
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import checked_scores
from fpgmlab.plans.thresholds import floors, global_cut

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class GammaView:
    """A global threshold at work.

    Attributes
    ----------
    ratio, floor : float
    threshold : float
        The lowest score above it; infinite when all are below.
    cliff : float
        The ratio from which on a first group is held at its floor.
    plan : Plan
    cost : Cost
        Of the network under the plan.
    frame : pandas.DataFrame
        A row for each prunable group, in network order: group, channels, kept, at_floor, floor_ratio (the ratio from
        which on it is held at its floor).
    """

    ratio: float
    floor: float
    threshold: float
    cliff: float
    plan: Plan
    cost: Cost
    frame: pd.DataFrame


def gamma_scores(graph: ChannelGraph) -> dict[str, Tensor]:
    """Return the batch norms' scales as scores.

    Raises
    ------
    ValueError
        When there are none, or a prunable group is without.
    """
    if not any(layer.kind == "batch_norm" for layer in graph.layers):
        raise ValueError(
            f"{type(graph.model).__name__} has no batch norm, so no gammas to cut by; give other scores that can be "
            "compared between layers"
        )
    return score(graph, "bn_gamma")


def gamma_view(graph: ChannelGraph, scores: Mapping[str, Tensor], ratio: float, floor: float = 0.0) -> GammaView:
    """Return what a global threshold at a ratio leaves of a network.

    Parameters
    ----------
    graph, scores, ratio, floor
        As in `fpgmlab.Plan.global_threshold`.
    """
    plan = Plan.global_threshold(graph, scores, ratio, floor=floor)
    limits = floors(graph, scores, floor)
    frame = limits.set_index("group").loc[[name for name, group in graph.items() if group.protected is None]]
    frame = frame.rename(columns={"ratio": "floor_ratio"}).reset_index()
    frame["kept"] = [plan.kept[name] for name in frame["group"]]
    frame["at_floor"] = frame["floor_ratio"] <= ratio + 1e-12
    columns = ["group", "channels", "kept", "at_floor", "floor_ratio"]
    return GammaView(
        ratio, floor, global_cut(graph, scores, ratio).value, float(limits["ratio"].iloc[0]), plan, graph.cost(plan),
        frame[columns],
    )  # fmt: skip


def pooled_payload(graph: ChannelGraph, scores: Mapping[str, Tensor]) -> dict[str, object]:
    """Return all that a browser needs to move the threshold by itself: every score, ascending, and whose it is."""
    names = [name for name, group in graph.items() if group.protected is None]
    each = [checked_scores(graph[name], scores) for name in names]
    values, owner = np.concatenate(each), np.repeat(np.arange(len(names)), [len(e) for e in each])
    order = np.argsort(values, kind="stable")
    whole = graph.cost()
    return {
        "network": type(graph.model).__name__,
        "groups": names,
        "channels": [graph[name].channels for name in names],
        "steps": [graph[name].step for name in names],
        "least": [graph[name].least for name in names],
        "values": values[order].astype(np.float64).tobytes(),
        "owner": owner[order].astype(np.int32).tobytes(),
        "protected": [name for name, group in graph.items() if group.protected is not None],
        "macs": whole.macs,
        "params": whole.params,
    }


def gammas_picture(scores: Mapping[str, Tensor], view: GammaView, label: str, log: bool) -> Figure:
    """Return the histogram of all scores with the threshold."""
    import pandas as pd

    from fpgmlab.figures import gamma_histogram

    names = list(view.frame["group"])
    rows = [(name, channel, float(value)) for name in names for channel, value in enumerate(scores[name])]
    figure = gamma_histogram(pd.DataFrame(rows, columns=["layer", "channel", "gamma"]), view.threshold, log)
    figure.axes[0].set_xlabel(label)
    return figure

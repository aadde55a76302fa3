"""What `FilterExplorer` shows, as data: one pure function of the graph, the group, the criterion and the ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_of
from fpgmlab.criteria import FPGM, Criterion, score
from fpgmlab.criteria.points import filters_of
from fpgmlab.criteria.scoring import does_not_apply, resolve
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.naming import unknown_group
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.explorer.scene import FilterScene, filter_scene, producer_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILES = 128  # filters: more are no picture any more


@dataclass(frozen=True, eq=False)
class FilterView:
    """The filters of a group, and what a criterion makes of them.

    Attributes
    ----------
    scene : FilterScene
        What does not depend on the criterion.
    criterion : Criterion
    ratio : float
        As asked for.
    protected : str or None
        Why nothing of the group may be removed.
    scores : Tensor, (channels,)
        Of all channels of the group, float64.
    ranks : array, (n,)
        Of the filters shown, among all channels of the group: 0 has the lowest score.
    removal : array, (n,)
        The filters shown by place in the scene, the lowest score first.
    plan : Plan
        Removes this group's channels and nothing else.
    """

    scene: FilterScene
    criterion: Criterion
    ratio: float
    protected: str | None
    scores: Tensor
    ranks: np.ndarray
    removal: np.ndarray
    plan: Plan

    @property
    def removed(self) -> tuple[int, ...]:
        """The removed channels of the group, ascending."""
        return self.plan.removed[self.scene.group]

    @property
    def gone(self) -> np.ndarray:
        """Which of the filters shown are removed, (n,) bool."""
        return np.isin(self.scene.channels, self.removed)


def filter_view(
    graph: ChannelGraph,
    group: str,
    criterion: str | Criterion = "fpgm",
    ratio: float = 0.3,
    *,
    reuse: FilterView | None = None,
) -> FilterView:
    """Return what there is to see of a group's filters: those of its first producer.

    Parameters
    ----------
    graph : ChannelGraph
    group : str
    criterion : str or Criterion
        As in `fpgmlab.score`. Distances are those of `fpgmlab.criteria.FPGM`, else euclidean.
    ratio : float
        0 <= ratio < 1: the share of the group's channels to remove. Without effect on a protected group.
    reuse : FilterView, optional
        An earlier view of the same graph with the same weights, from which is taken what has not changed.

    Raises
    ------
    ValueError
        For an unknown group, a ratio out of range, a criterion that does not apply to the group, or NaN or infinite
        weights.
    TypeError
        For a criterion that is neither a name nor a rule.
    """
    if group not in graph:
        raise ValueError(unknown_group(graph, group))
    criterion = resolve(criterion)
    distance = criterion.distance if isinstance(criterion, FPGM) else "euclidean"
    old = reuse if reuse is not None and reuse.scene.group == group else None
    scores = old.scores if old is not None and old.criterion == criterion else group_scores(graph, group, criterion)
    scene = old.scene if old is not None and old.scene.distance == distance else filter_scene(graph, group, distance)
    protected = graph[group].protected
    plan = Plan.from_ratios(graph, {group: scores}, {group: ratio if protected is None else 0.0})
    order = torch.argsort(scores, stable=True)
    ranks = torch.argsort(order).numpy()[scene.channels]
    return FilterView(scene, criterion, float(ratio), protected, scores, ranks, np.argsort(ranks), plan)


def group_scores(graph: ChannelGraph, group: str, criterion: Criterion) -> Tensor:
    """Return the scores of one group, (channels,); the same as `fpgmlab.score` of the whole graph has.

    Raises
    ------
    ValueError
        When the criterion does not apply to it.
    """
    # Random numbers are one stream over all groups; everything else looks at a group's own layers and readers alone.
    found = score(graph, criterion, groups=[group], progress=False)
    if group not in found:
        raise ValueError(f"{does_not_apply(criterion, group)} Use another criterion.")
    return found[group]


def explorer_picture(graph: ChannelGraph, view: FilterView) -> Figure:
    """Return the tiles of a view's filters, or their map where these are no pictures, or too many."""
    from fpgmlab.figures import filter_map, filter_tiles

    scene = view.scene
    modules, shown = dict(graph.model.named_modules()), torch.as_tensor(scene.members)
    module, layer = modules[scene.layer], producer_of(graph, scene.group)
    gone = np.flatnonzero(view.gone).tolist()
    if isinstance(module, nn.Conv2d) and layer.rule is None and len(shown) <= _TILES and scene.word == "filter":
        weights = tensor_of(module, "weight")[shown[:, 0].to(tensor_of(module, "weight").device)]
        return filter_tiles(weights, view.scores[torch.as_tensor(scene.channels)], gone)
    return filter_map(filters_of(layer, modules)[shown].flatten(1), gone)

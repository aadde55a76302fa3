"""What a sweep measures: every group at every ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpgmlab.common.modules import split_name
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import READERS
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple, Scores

RATIOS = tuple(round(0.1 * k, 1) for k in range(1, 10))


@dataclass(frozen=True, eq=False)
class Point:
    """A group at a ratio: what to remove, and the modules whose weights that changes."""

    group: str
    plan: Plan
    changed: tuple[str, ...]

    @property
    def kept(self) -> int:
        """How many of the group's channels stay."""
        return self.plan.kept[self.group]


def points(graph: ChannelGraph, scores: Scores, ratios: Sequence[float], multiple: Multiple) -> list[Point]:
    """Return every group at every ratio; ratios that leave the same channels are one point, that leave all none."""
    if not all(isinstance(r, (int, float, np.floating)) and 0 <= r < 1 for r in ratios) or not any(ratios):
        raise ValueError(f"ratios must be numbers with 0 <= ratio < 1, at least one of them > 0; got {list(ratios)}")
    found: list[Point] = []
    for name, group in graph.items():
        if group.protected is not None:
            continue
        changed = changed_by(graph, name)
        by_kept: dict[int, Point] = {}
        for ratio in sorted(ratios):
            plan = Plan.from_ratios(graph, scores, {name: ratio}, multiple=multiple)
            if plan.kept[name] < group.channels:
                by_kept.setdefault(plan.kept[name], Point(name, plan, changed))
        found += by_kept.values()
    return found


def changed_by(graph: ChannelGraph, group: str) -> tuple[str, ...]:
    """Return the modules that `fpgmlab.simulate` changes to remove a group's channels: they read or reduce them."""
    where = graph.channels_of(group)
    modules = dict(graph.model.named_modules())
    readers = [layer for layer in graph.layers if layer.kind in READERS and not layer.depthwise]
    reading = [layer for layer in readers if _some(layer.inputs, where)]
    names = [layer.name for layer in reading]
    weights = {id(getattr(modules[layer.name], split_name(layer.weight)[1])) for layer in reading}
    # Modules that share a weight change together.
    shared = [n for n, m in modules.items() if any(id(p) in weights for p in m.parameters(recurse=False))]
    reducing = [reduction.place.module for reduction in graph.reductions if _some(reduction.channels, where)]
    return tuple(dict.fromkeys([*names, *shared, *reducing]))


def _some(channels: np.ndarray, where: slice) -> bool:
    """Tell whether some channels lie in a group's."""
    return bool(((channels >= where.start) & (channels < where.stop)).any())

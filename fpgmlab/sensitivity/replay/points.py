"""What a sweep measures: every group at every ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_at
from fpgmlab.graph.channel_graph import ChannelGraph
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
    reading = [layer for layer in graph.layers if layer.reading and _some(layer.inputs, where)]
    names = [layer.name for layer in reading]
    weights = {id(tensor_at(modules, name)) for layer in reading for name in layer.reading}
    # Modules that share a weight change together.
    shared = [n for n, m in modules.items() if any(id(t) in weights for t in _own(m))]
    reducing = [reduction.place.module for reduction in graph.reductions if _some(reduction.channels, where)]
    return tuple(dict.fromkeys([*names, *shared, *reducing]))


def _own(module: nn.Module) -> tuple[Tensor, ...]:
    return (*module.parameters(recurse=False), *module.buffers(recurse=False))


def _some(channels: np.ndarray, where: slice) -> bool:
    """Tell whether some channels lie in a group's."""
    return bool(((channels >= where.start) & (channels < where.stop)).any())

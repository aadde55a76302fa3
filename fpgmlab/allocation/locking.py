"""Groups whose number of channels is decided already, while the others are being planned."""

from __future__ import annotations

from collections.abc import Mapping

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.naming import unknown_group
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Scores, lowest


def check_locked(graph: ChannelGraph, locked: Mapping[str, int] | None) -> dict[str, int]:
    """Return how many channels locked groups keep, by group name.

    Raises
    ------
    ValueError
        For an unknown group, and a number that it cannot keep.
    """
    locked = dict(locked or {})
    for name, kept in locked.items():
        if name not in graph:
            raise ValueError(f"locked: {unknown_group(graph, name)}")
        group = graph[name]
        if group.protected is not None and kept != group.channels:
            raise ValueError(f"locked: group {name!r} is protected ({group.protected}): it keeps all {group.channels}")
        if not group.least <= kept <= group.channels or kept % group.step:
            unit = f"a multiple of {group.step} " if group.step > 1 else ""
            raise ValueError(
                f"locked: group {name!r} can keep {unit}from {group.least} to {group.channels} channels; got {kept}"
            )
    return locked


def with_locked(graph: ChannelGraph, scores: Scores, plan: Plan, locked: Mapping[str, int]) -> Plan:
    """Return a plan in which locked groups keep what they shall, the channels with the highest scores."""
    removed = dict(plan.removed)
    for name, kept in locked.items():
        gone = graph[name].channels - kept
        removed[name] = lowest(graph[name], scores, gone) if gone else ()
    return Plan(plan.widths, removed)

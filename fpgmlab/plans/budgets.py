"""The smallest ratio that meets a budget, and how much of its last step the budget asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.removed import HasRemoved
from fpgmlab.plans.removal import Removal

CLOSE = 1e-6  # how closely a ratio is found


def asked_ratio(graph: ChannelGraph, plan: Callable[[float], HasRemoved], options: Mapping[str, float | None]) -> float:
    """Return the ratio given, or the smallest whose plan meets the one budget given.

    Parameters
    ----------
    graph : ChannelGraph
    plan : callable
        ``ratio -> Plan``; a larger ratio must not cost more.
    options : mapping of str to float or None
        ``ratio`` and budgets by name of `fpgmlab.Cost`'s fields; exactly one is not None.

    Raises
    ------
    ValueError
        When not exactly one is given, for one out of range, and for a budget that cannot be reached, with what can.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(options)}; got {given or 'none'}")
    ((kind, value),) = given.items()
    if kind == "ratio":
        if not (isinstance(value, (int, float, np.floating)) and 0 <= value < 1):
            raise ValueError(f"ratio must be a number with 0 <= ratio < 1; got {value!r}")
        return value
    if not 0 < value <= 1:
        raise ValueError(f"{kind} must be the fraction that may remain, 0 < {kind} <= 1; got {value}")
    whole = getattr(graph.cost(), kind)
    low, high = 0.0, math.nextafter(1.0, 0.0)
    if getattr(graph.cost(plan(low)), kind) <= value * whole:
        return low
    least = getattr(graph.cost(plan(high)), kind)
    if least > value * whole:
        free = sum(group.protected is None for group in graph.values())
        raise ValueError(
            f"{kind}={value} cannot be reached: at least {math.ceil(least / whole * 1e4) / 1e4:.4f} of the {kind} "
            f"remain with these limits (multiple, max_ratio, floor) and {len(graph) - free} protected groups"
        )
    while high - low > CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if getattr(graph.cost(plan(middle)), kind) <= value * whole else (middle, high)
    return high


def least_removed(
    graph: ChannelGraph, plan: Callable[[float], Removal], options: Mapping[str, float | None]
) -> Mapping[str, tuple[int, ...]]:
    """Return the channels removed at the ratio given, or as few as meet the one budget given.

    Where numbers of channels are rounded, groups of equal width take a step of several at the same ratio. Of those
    that do at the smallest ratio, the last ones of the network take it, as many as the budget asks for; so a smaller
    budget removes the same channels and more.

    Parameters
    ----------
    graph, plan, options
        As in `asked_ratio`, whose errors these are.
    """
    ratio = asked_ratio(graph, plan, options)
    found = plan(ratio).removed
    kind, value = next((name, value) for name, value in options.items() if value is not None)
    if kind == "ratio":
        return found
    removed = dict(plan(max(0.0, ratio - 2 * CLOSE)).removed)
    widths = {name: group.channels for name, group in graph.items()}
    for name in reversed([name for name in found if found[name] != removed[name]]):
        if getattr(graph.cost(Removal(widths, removed)), kind) <= value * getattr(graph.cost(), kind):
            break
        removed[name] = found[name]
    return removed

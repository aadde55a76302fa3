"""What the curves say of a plan: the same sum, from the same numbers, as the browser shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpgmlab.widgets.desk.payload import Json


@dataclass(frozen=True)
class Forecast:
    """A metric's expected value under a plan.

    Attributes
    ----------
    value : float
        The unpruned network's, less the sum of what each group's removal alone costs.
    half : float
        Half the width of its 95 % interval, the groups' errors taken as independent.
    unknown : tuple of str
        Pruned groups of which too little was measured: their share is missing, or only a lower bound.
    """

    value: float
    half: float
    unknown: tuple[str, ...]


def forecast(desk: Json, metric: str, kept: Sequence[int]) -> Forecast:
    """Return what a metric is expected to be.

    Parameters
    ----------
    desk : dict
        See `desk_payload`.
    metric : str
    kept : sequence of int
        Channels of each group.
    """
    (rule,) = (each for each in desk["metrics"] if each["name"] == metric)
    drop, spread, unknown = 0.0, 0.0, []
    for group, curve, count in zip(desk["groups"], rule["curves"], kept, strict=True):
        if count == group["channels"]:
            continue
        if curve is None or count < curve["kept"][-1]:
            unknown.append(group["name"])
        if curve is not None:
            drop += _at(curve["kept"], curve["drop"], count)
            spread += _at(curve["kept"], [_half(*ends) for ends in zip(curve["low"], curve["high"])], count) ** 2
    value = rule["value"] - drop if rule["higher_is_better"] else rule["value"] + drop
    if rule["share"]:
        value = min(1.0, max(0.0, value))
    return Forecast(value, math.sqrt(spread), tuple(unknown))


def _at(kept: Sequence[int], values: Sequence[float], count: int) -> float:
    return float(np.interp(count, kept[::-1], values[::-1]))


def _half(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else (high - low) / 2

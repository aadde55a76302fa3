"""Sensitivity curves: a metric as a function of one group's ratio, all else untouched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["group", "ratio", "kept", "metric", "value", "low", "high", "samples"]


@dataclass(frozen=True, eq=False)
class Curves:
    """What a sweep has found so far.

    Attributes
    ----------
    frame : pandas.DataFrame
        Columns group, ratio (the fraction really removed), kept, metric, value, low, high (the ends of a 95 %
        interval), samples: a row for each point, by group in network order and ascending ratio. The ratio 0 is the
        unpruned network.
    base : mapping of str to float
        The unpruned network's value of each metric, on all samples seen.
    unmeasurable : tuple of str
        Groups whose removal, at every ratio, changed no output at all: nothing is known of their sensitivity.
    complete : bool
        Whether the sweep went through all its samples, or met its tolerance everywhere.
    """

    frame: pd.DataFrame
    base: Mapping[str, float]
    unmeasurable: tuple[str, ...] = ()
    complete: bool = True

    def __repr__(self) -> str:
        groups, metrics = self.frame["group"].nunique(), ", ".join(self.base)
        samples = int(self.frame["samples"].max()) if len(self.frame) else 0
        return f"Curves of {groups} groups, {metrics}, on up to {samples} samples" + (
            "" if self.complete else "; incomplete"
        )

    def _repr_html_(self) -> str:
        return self.frame.to_html(index=False)

"""What `SweepPanel` shows, as data: the grid, the points, how far it is and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from fpgmlab.common.numbers import counted
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.sensitivity.curves.intervals import SPARE, is_narrow
from fpgmlab.sensitivity.curves.metrics import METRICS
from fpgmlab.widgets.common.pace import duration

if TYPE_CHECKING:
    import pandas as pd


class Grid(TypedDict):
    """What is measured: the groups, in network order, and of each the ratios and numbers of kept channels."""

    network: str
    groups: list[str]
    channels: list[int]
    many: list[str]
    metrics: list[str]
    shares: list[bool]
    ratios: list[list[float]]
    kept: list[list[int]]


def empty_grid(graph: ChannelGraph, metrics: Sequence[str]) -> Grid:
    """Return what is known before the first batch: the groups, in network order, and what is measured of them."""
    free = [name for name, group in graph.items() if group.protected is None]
    return {
        "network": type(graph.model).__name__,
        "groups": free,
        "channels": [graph[name].channels for name in free],
        "many": [graph[name].counted(2).removeprefix("2 ") for name in free],
        "metrics": list(metrics),
        "shares": [metric in METRICS and METRICS[metric].share for metric in metrics],
        "ratios": [[] for _ in free],
        "kept": [[] for _ in free],
    }


def filled_grid(grid: Grid, frame: pd.DataFrame) -> Grid:
    """Return a grid with what a sweep's frame tells: ratios, numbers of kept channels, which metrics are fractions."""
    first = frame[frame["metric"] == grid["metrics"][0]]
    found = {name: mine for name, mine in first.groupby("group", sort=False)}
    listed = [found.get(name, first[:0]) for name in grid["groups"]]
    return {
        **grid,
        "shares": [frame.attrs["share"][metric] for metric in grid["metrics"]],
        "ratios": [m["ratio"].tolist() for m in listed],
        "kept": [m["kept"].tolist() for m in listed],
    }


def points_payload(grid: Grid, frame: pd.DataFrame) -> bytes:
    """Return the points as float32, (metrics, points, 4): value, low, high, samples; by group in the grid's order."""
    place = {name: i for i, name in enumerate(grid["groups"])}
    parts = []
    for metric in grid["metrics"]:
        mine = frame[frame["metric"] == metric]
        mine = mine.assign(_place=mine["group"].map(place)).sort_values(["_place", "ratio"], kind="stable")
        parts.append(mine[["value", "low", "high", "samples"]].to_numpy(np.float32))
    return np.ascontiguousarray(parts).tobytes()


@dataclass(frozen=True)
class Extent:
    """How far a sweep is.

    Attributes
    ----------
    samples, total : int
        Seen so far by the unpruned network, and at most.
    done, left : float
        Samples times points: measured, and expected to be needed.
    widest : float
        Half the widest interval of the first metric.
    narrow, points : int
        How many points have reached the tolerance, and how many there are.
    """

    samples: int
    total: int
    done: float
    left: float
    widest: float
    narrow: int
    points: int

    def share(self, ahead: float = 0.0) -> float:
        """Return the share of the expected work that is done, 0 to 1, with what the batch under way has done."""
        return min(1.0, (self.done + ahead) / (self.done + self.left)) if self.done + self.left > 0 else 1.0


def extent(frame: pd.DataFrame, metric: str, total: int, tolerance: float | None = None) -> Extent:
    """Return how far a sweep is, and how much is expected to be left.

    Intervals narrow with the square root of the number of samples: a point that is twice as wide as the tolerance needs
    four times its samples, if there are so many.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``curves.frame``.
    metric : str
        Whose intervals the tolerance is about.
    total : int
        Samples of the whole sweep.
    tolerance : float, optional
        As in `fpgmlab.sweep`.
    """
    mine = frame[frame["metric"] == metric]
    points = mine[mine["ratio"] > 0]
    seen = points["samples"].to_numpy(float)
    half = ((points["high"] - points["low"]) / 2).to_numpy(float)
    needed = np.full(len(points), float(total))
    narrow = np.zeros(len(points), bool)
    if tolerance is not None:
        narrow = np.asarray(is_narrow(points["low"].to_numpy(float), points["high"].to_numpy(float), tolerance))
        with np.errstate(invalid="ignore"):
            needed = np.where(narrow, seen, np.minimum(total, np.ceil(seen * (SPARE * half / tolerance) ** 2)))
    left = np.maximum(needed - seen, 0).sum()
    samples = int(mine["samples"].max()) if len(mine) else 0
    widest = float(half.max()) if len(half) else 0.0
    return Extent(samples, total, float(seen.sum()), float(left), widest, int(narrow.sum()), len(points))


def status_words(
    state: str,
    metric: str,
    share: bool,
    now: Extent | None,
    tolerance: float | None,
    left: float | None,
    passes: int = 0,
) -> str:
    """Return a line on how far a sweep is.

    Parameters
    ----------
    state : {"idle", "running", "cancelled", "finished", "failed"}
    metric : str
        The first.
    share : bool
        Whether it is a fraction.
    now : Extent, optional
        None before the first batch.
    tolerance : float, optional
    left : float, optional
        Seconds.
    passes : int
        Forward passes of the first batch so far.
    """
    if now is None and state == "running":
        return f"Running: {passes:,} forward passes of the first batch are through."
    if now is None:
        return _BEFORE[state]
    wide = f"{metric} is known to ± {amount(now.widest, share)} or better" if np.isfinite(now.widest) else ""
    goal = f"{now.narrow} of {now.points} points are within ± {tolerance:g}" if tolerance is not None else ""
    seen = f"{now.samples:,} of {counted(now.total, 'sample')}"
    ends = {
        "running": "" if left is None else f"{duration(left)} left",
        "cancelled": "Resume goes on from here", "failed": "Resume tries again from here",
    }  # fmt: skip
    return "; ".join(filter(None, [f"{state.capitalize()}: {seen}", wide, goal, ends.get(state, "")])) + "."


_BEFORE = {
    "idle": "Not started.",
    "cancelled": "Cancelled before the first batch was through.",
    "finished": "Finished: there was nothing to measure.",
    "failed": "Failed before the first batch was through.",
}


def amount(value: float, share: bool) -> str:
    """Return a difference of a metric, of a fraction in points.

    >>> amount(0.0123, share=True), amount(0.0123, share=False)
    ('1.2 points', '0.0123')
    """
    return f"{100 * value:.2g} points" if share else f"{value:.3g}"

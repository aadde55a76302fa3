"""The table of a sweep, looked at: one metric of it, which way is worse, and by how much."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from fpgmlab.errors import unknown
from fpgmlab.sensitivity.curves.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("group", "ratio", "metric", "value", "low", "high")


def one_metric(frame: pd.DataFrame, metric: str | None) -> tuple[str, pd.DataFrame]:
    """Return a metric's name, the first when left out, and its rows of a sweep's frame, by ascending ratio."""
    if hasattr(frame, "unmeasurable"):
        raise TypeError("give the curves' table: curves.frame, and unmeasurable=curves.unmeasurable where it is taken")
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, as curves.frame of a sweep; missing columns: {missing or 'none'}")
    metric = frame["metric"].iloc[0] if metric is None else metric
    if metric not in set(frame["metric"]):
        raise ValueError(unknown("metric", metric, dict.fromkeys(frame["metric"])))
    rows = frame[frame["metric"] == metric]
    place = {name: i for i, name in enumerate(dict.fromkeys(rows["group"]))}
    order = rows.assign(_place=rows["group"].map(place)).sort_values(["_place", "ratio"], kind="stable")
    without = [name for name, mine in order.groupby("group", sort=False) if mine["ratio"].iloc[0] != 0]
    if without:
        raise ValueError(f"group {without[0]!r} has no row of ratio 0, the unpruned network ({len(without)} in all)")
    return metric, order.drop(columns="_place").reset_index(drop=True)


def is_higher_better(frame: pd.DataFrame, metric: str, told: bool | None) -> bool:
    """Return whether a higher metric is better: as told, else as the sweep that made the frame knows.

    Raises
    ------
    ValueError
        When neither does.
    """
    if told is not None:
        return told
    known = {name: each.higher_is_better for name, each in METRICS.items()} | frame.attrs.get("higher_is_better", {})
    if metric not in known:
        raise ValueError(f"whether a higher {metric!r} is better is not known: give higher_is_better=True or False")
    return known[metric]


def worsening(frame: pd.DataFrame, higher_is_better: bool) -> pd.DataFrame:
    """Return how much worse than the unpruned network each row is; below zero where it is better.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `one_metric` returns it.
    higher_is_better : bool

    Returns
    -------
    pandas.DataFrame
        Columns value, low, high; low <= value <= high.
    """
    import pandas as pd

    base = frame.groupby("group", sort=False)["value"].transform("first")
    ends = ("low", "high") if higher_is_better else ("high", "low")
    sign = -1.0 if higher_is_better else 1.0
    columns = {"value": sign * (frame["value"] - base)}
    columns |= {"low": sign * (frame[ends[1]] - base), "high": sign * (frame[ends[0]] - base)}
    return pd.DataFrame(columns)


def checked_groups(names: Collection[str], groups: Collection[str]) -> frozenset[str]:
    """Return names of groups, of which each must be among those of the frame."""
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in groups:
            raise ValueError(unknown("group", name, groups))
    return frozenset(names)


def is_share(frame: pd.DataFrame) -> bool:
    """Tell whether a metric's values are fractions, to be written in percent."""
    metric = frame["metric"].iloc[0]
    known = {name: each.share for name, each in METRICS.items()} | frame.attrs.get("share", {})
    return known[metric] if metric in known else bool(frame["value"].between(0, 1).all())


def worse_word(metric: str, higher_is_better: bool) -> str:
    """Return how a metric's worsening is called: "drop of accuracy", "rise of loss"."""
    return f"{'drop' if higher_is_better else 'rise'} of {metric}"

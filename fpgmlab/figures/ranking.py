"""Which channel groups are the most sensitive."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fpgmlab.figures.parts import Marker, legend_above, mark, name_rows, rows
from fpgmlab.figures.style import BLUE, Style, new_figure
from fpgmlab.figures.sweeps import (
    checked_groups,
    hatch,
    hatched,
    is_higher_better,
    is_share,
    one_metric,
    worse_word,
    worsening,
)

_CLOSED: Marker = {"marker": "o", "markersize": 4, "mew": 0}
_OPEN: Marker = {"marker": ">", "markersize": 4.5, "mfc": "white", "mew": 0.9}


def ranking_table(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    drop: float = 0.01,
    ratio: float | None = None,
    unmeasurable: Collection[str] = (),
    higher_is_better: bool | None = None,
) -> pd.DataFrame:
    """Return the channel groups in the order of their sensitivity, the most sensitive first.

    A group's *tolerated ratio* is where its curve, straight between the measured ratios, first gets worse than the
    unpruned network's value by more than ``drop``; the ends of its interval are where the better and the worse edge of
    the curve's band do. A curve that never does tolerates at least the largest measured ratio.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``curves.frame`` of `fpgmlab.sweep`.
    metric : str, optional
        Which; the first when left out.
    drop : float
        How much worse the metric may get, in its own unit: 0.01 is one point of accuracy.
    ratio : float, optional
        0 < ratio < 1: rank by how much worse the metric is at this ratio instead, straight between measured ratios.
    unmeasurable : collection of str
        ``curves.unmeasurable``: groups whose removal changed no output. They come last and have no rank.
    higher_is_better : bool, optional
        Of a metric of which the frame does not know it.

    Returns
    -------
    pandas.DataFrame
        Columns rank (1 is the most sensitive; <NA> where nothing could be measured), group, value, low, high (a ratio,
        or with ``ratio`` a worsening of the metric; NaN where not measurable), beyond (the curve ends before it gets
        worse by ``drop``: the tolerated ratio is at least this).

    Raises
    ------
    ValueError
        For a frame that is not one of a sweep, a drop that is not above 0, a ratio out of range or beyond the largest
        that was measured, or unknown groups.
    """
    metric, frame = one_metric(frame, metric)
    if ratio is None and not drop > 0:
        raise ValueError(f"drop must be a number > 0, in the unit of {metric}; got {drop}")
    if ratio is not None and not 0 < ratio < 1:
        raise ValueError(f"ratio must be a number with 0 < ratio < 1; got {ratio}")
    blind = checked_groups(unmeasurable, set(frame["group"]))
    worse = worsening(frame, is_higher_better(frame, metric, higher_is_better))
    found = []
    for group, mine in frame.groupby("group", sort=False):
        if group in blind:
            found.append((group, np.nan, np.nan, np.nan, False))
        elif ratio is None:
            found.append((group, *_tolerated(mine["ratio"].to_numpy(float), worse.loc[mine.index], drop)))
        else:
            found.append((group, *_worse_at(mine, worse.loc[mine.index], ratio), False))
    table = pd.DataFrame(found, columns=["group", "value", "low", "high", "beyond"])
    # Of groups that tolerate all ratios, those of which this is surest come last.
    table = table.sort_values(["value", "low"], ascending=ratio is None, kind="stable", na_position="last")
    ranks = pd.Series(np.arange(1, len(table) + 1), index=table.index, dtype="Int64").where(table["value"].notna())
    return table.assign(rank=ranks)[["rank", "group", "value", "low", "high", "beyond"]].reset_index(drop=True)


def sensitivity_ranking(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    drop: float = 0.01,
    ratio: float | None = None,
    unmeasurable: Collection[str] = (),
    higher_is_better: bool | None = None,
    style: Style | None = None,
) -> Figure:
    """Show the channel groups in the order of their sensitivity, the most sensitive on top, with 95 % intervals.

    By default the *tolerated ratio*: what share of the group's channels may go until the metric is worse than the
    unpruned network's by ``drop``. See `ranking_table`, which gives the numbers.

    Parameters
    ----------
    frame, metric, drop, ratio, unmeasurable, higher_is_better
        As in `ranking_table`.
    style : mapping, optional
        From `fpgmlab.figures.style`.
    """
    metric, frame = one_metric(frame, metric)
    table = ranking_table(
        frame, metric, drop=drop, ratio=ratio, unmeasurable=unmeasurable, higher_is_better=higher_is_better
    )
    share, worse = is_share(frame), worse_word(metric, is_higher_better(frame, metric, higher_is_better))
    with new_figure(5.0, rows(len(table), room=1.0), style) as figure:
        axis = figure.subplots()
        place, known, open_ = np.arange(len(table)), table["value"].notna(), table["beyond"]
        bounds = table[["low", "high"]].replace([-np.inf, np.inf], np.nan)
        limit = 1.0 if ratio is None else _limit(table)
        axis.hlines(place[known], bounds["low"].fillna(-limit)[known], bounds["high"].fillna(limit)[known], color=BLUE,
                    lw=1.1, alpha=0.6)  # fmt: skip
        for which, look in ((known & ~open_, _CLOSED), (known & open_, _OPEN)):
            axis.plot(table["value"][which], place[which], ls="none", color=BLUE, **look)
        for i in place[~known]:
            hatch(axis, (0, i - 0.4), (1, 0.8), axis.get_yaxis_transform())
        if 0 < known.sum() < len(table):
            axis.axhline(known.sum() - 0.5, color="0.25", lw=0.6)
        name_rows(axis.yaxis, list(table["group"]))
        axis.set(ylim=(len(table) - 0.4, -0.6), ylabel="channel group, by sensitivity")
        _set_scale(axis, drop, ratio, limit, share, worse)
        handles = [Line2D([], [], color=BLUE, lw=1.1, **_CLOSED, label="with 95 % interval")]
        if (known & open_).any():
            handles.append(mark("at least: the curve ends here", BLUE, **_OPEN))
        legend_above(figure, handles if known.all() else [*handles, hatched()])
    return figure


def first_above(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Return where a curve, straight between its points, first gets above a level; NaN where it never does.

    Parameters
    ----------
    x, y : ndarray, (n,)
        With x ascending; y may be infinite, from where on it is above.
    level : float
    """
    above = np.flatnonzero(y > level)
    if len(above) == 0:
        return float("nan")
    i = int(above[0])
    if i == 0 or not np.isfinite(y[i]):
        return float(x[max(i - 1, 0)])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (level - y[i - 1]) / (y[i] - y[i - 1]))


def _tolerated(ratios: np.ndarray, curve: pd.DataFrame, drop: float) -> tuple[float, float, float, bool]:
    # The worse edge of the band reaches the level first: it gives the low end of the ratio.
    at = [first_above(ratios, curve[edge].to_numpy(float), drop) for edge in ("value", "high", "low")]
    value, low, high = (float(ratios[-1]) if np.isnan(x) else x for x in at)
    return value, low, high, bool(np.isnan(at[0]))


def _worse_at(mine: pd.DataFrame, curve: pd.DataFrame, ratio: float) -> list[float]:
    ratios = mine["ratio"].to_numpy(float)
    if ratio > ratios[-1]:
        raise ValueError(
            f"group {mine['group'].iloc[0]!r} is measured up to ratio {ratios[-1]:.4g} only; got ratio={ratio}"
        )
    return [float(np.interp(ratio, ratios, curve[edge])) for edge in ("value", "low", "high")]


def _limit(table: pd.DataFrame) -> float:
    """Return how far the values reach; what some intervals of a few samples have more is cut off."""
    values = table["value"].abs()
    ends = table["high"].where(np.isfinite(table["high"]))
    return float(np.nanmax([values.max(), min(ends.max(), 3 * values.max()), 1e-6])) if values.notna().any() else 1.0


def _set_scale(axis: Axes, drop: float, ratio: float | None, limit: float, share: bool, worse: str) -> None:
    axis.grid(axis="both", color="0.93", lw=0.5)
    axis.set_axisbelow(True)
    if ratio is None:
        amount = f"{100 * drop:g} points" if share and drop != 0.01 else "1 point" if share else f"{drop:g}"
        axis.set(xlim=(0, 1), xlabel=f"tolerated ratio: {worse} up to {amount}")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0))
        return
    axis.set(xlim=(min(-0.05 * limit, 1.1 * axis.dataLim.x0 if np.isfinite(axis.dataLim.x0) else 0), 1.05 * limit))
    axis.set_xlabel(f"{worse} at ratio {ratio:.0%}" if f"{ratio:.0%}" == f"{100 * ratio:g}%" else f"{worse} at {ratio}")
    axis.axvline(0, color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1)
    if share:
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if limit >= 0.04 else 1))

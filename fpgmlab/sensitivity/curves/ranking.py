"""Which channel groups are the most sensitive, as a table."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.sensitivity.curves.frame import checked_groups, is_higher_better, one_metric, worsening

if TYPE_CHECKING:
    import pandas as pd


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
    TypeError
        When it is no table, such as the curves themselves.
    ValueError
        For a frame that is not one of a sweep, a drop that is not above 0, a ratio out of range or beyond the largest
        that was measured, or unknown groups.

    Examples
    --------
    >>> curves = fl.sensitivity.shipped("resnet20-fashion")
    >>> fl.sensitivity.ranking_table(curves.frame, drop=0.01)["group"][0]
    'conv1'
    """
    import pandas as pd

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

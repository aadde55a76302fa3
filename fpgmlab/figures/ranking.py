"""Which channel groups are the most sensitive."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fpgmlab.figures.parts import Marker, hatch, hatched, legend_above, mark, name_rows, rows
from fpgmlab.figures.style import BLUE, Style, new_figure
from fpgmlab.sensitivity.curves.frame import is_higher_better, is_share, one_metric, worse_word
from fpgmlab.sensitivity.curves.ranking import ranking_table

_CLOSED: Marker = {"marker": "o", "markersize": 4, "mew": 0}
_OPEN: Marker = {"marker": ">", "markersize": 4.5, "mfc": "white", "mew": 0.9}


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
    unpruned network's by ``drop``. See `fpgmlab.sensitivity.ranking_table`, which gives the numbers.

    Parameters
    ----------
    frame, metric, drop, ratio, unmeasurable, higher_is_better
        As in `fpgmlab.sensitivity.ranking_table`.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError
        When it is no table, such as the curves themselves.
    ValueError
        As `fpgmlab.sensitivity.ranking_table`.
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

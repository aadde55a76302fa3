"""Methods beside each other with their intervals: a value over what it costs, a panel for each network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from fpgmlab.errors import few
from fpgmlab.figures.looks import Look, looks
from fpgmlab.figures.parts import draw_intervals, endless_intervals, legend_above, mark
from fpgmlab.figures.style import Style, new_figure

_LABELS = {
    "macs": "MACs that remain",
    "time": "time that remains",
    "ms": "milliseconds of one call",
}
_APART = 1.6  # points between methods at one nominal budget
_SIDE_BY_SIDE = "side by side: at the same cost"
_NARROWEST = 1.6  # inches of a panel


def comparison(
    frame: pd.DataFrame,
    x: str = "macs",
    *,
    panel: str | None = None,
    unpruned: Mapping[str, float] | float | None = None,
    labels: tuple[str | None, str] = (None, "accuracy"),
    diagonal: bool = False,
    style: Style | None = None,
) -> Figure:
    """Show a value of several methods over its cost, with intervals: what a paper's main figure shows.

    Each point stands at its cost. Only where a panel has nothing but nominal budgets, each of them the same for several
    methods, these stand a little apart, so that their intervals are seen: around a grey line at the budget, the only
    place with a tick; the legend says so. Each method has its own colour, marker and dashes, the same ones in all
    figures (`fpgmlab.figures.looks`).

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each network: ``method``, the cost, ``value``; if known ``low`` and ``high``, the ends of its
        interval, dotted where infinite: not known. Where ``open`` is true it is an unpruned network, and the marker is
        hollow.
    x : str
        The column of the cost: ``"macs"`` and ``"time"`` are fractions of the unpruned network's, ``"ms"`` are
        milliseconds.
    panel : str, optional
        A column by whose values there is one panel each.
    unpruned : mapping or float, optional
        The unpruned network's value, by panel or for all: a dashed line.
    labels : tuple
        Of the axes; None for that of a known cost.
    diagonal : bool
        Whether to draw where cost and value are equal.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns.
    """
    needed = ["method", x, "value", *([panel] if panel else [])]
    missing = [name for name in needed if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows and the columns {few(needed)}; missing: {missing or 'rows'}")
    parts = {str(name): part for name, part in frame.groupby(panel, sort=False)} if panel else {"": frame}
    found = looks(str(name) for name in frame["method"])
    whole = unpruned if isinstance(unpruned, Mapping) else dict.fromkeys(parts, unpruned)

    def height(width: float, text: float) -> float:
        down = -(-len(parts) // _across(width, len(parts)))
        return down * (min(1.75, 0.62 * width / _across(width, len(parts))) + 3.5 * text) + 2.5 * text

    with new_figure(min(3.4 * len(parts), 10.0) if len(parts) > 1 else 4.6, height, style) as figure:
        across = _across(figure.get_figwidth(), len(parts))
        axes = figure.subplots(
            -(-len(parts) // across),
            across,
            squeeze=False,
        )
        endless, budgets = False, x == "macs" and not diagonal
        beside = {name: budgets and is_nominal(part) for name, part in parts.items()}
        for axis, (name, part) in zip(axes.ravel(), parts.items(), strict=False):
            endless |= _draw(figure, axis, part, x, found, _apart(part) if beside[name] else 0.0)
            if whole.get(name) is not None:
                axis.axhline(float(whole[name] or 0), color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1)
            if diagonal:
                axis.axline((0, 0), slope=1, color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1)
            _scale(axis, part, x)
            if beside[name]:
                _name_budgets(axis, sorted(set(part[x])))
            if diagonal:  # the same in all panels, from zero
                axis.set(xlim=(0, 1.06 * frame[x].max()), ylim=(0, 1.06 * frame["value"].max()))
            axis.set_title(name)
            axis.set_xlabel(_LABELS.get(x, x) if labels[0] is None else labels[0])
        for axis in axes.ravel()[len(parts) :]:
            axis.set_axis_off()
        for axis in axes[:, 0]:
            axis.set_ylabel(labels[1])
        handles = [look.handle(name) for name, look in found.items()]
        if unpruned is not None:
            handles.append(_dashed("unpruned network"))
        if "open" in frame and frame["open"].any():
            handles.append(mark("hollow: unpruned network", "0.4", mfc="white", markersize=4.2, mew=0.8))
        if diagonal:
            handles.append(_dashed("as promised"))
        if any(beside.values()):
            handles.append(Line2D([], [], ls="none", marker="|", color="0.75", markersize=8, label=_SIDE_BY_SIDE))
        if endless:
            handles.append(endless_intervals())
        legend_above(figure, handles, handlelength=2.4)
    return figure


def _dashed(label: str) -> Line2D:
    return Line2D([], [], color="0.25", lw=0.7, ls=(0, (3, 2)), label=label)


def _across(width: float, count: int) -> int:
    return max(1, min(count, int(width / _NARROWEST)))


def is_nominal(part: pd.DataFrame) -> bool:
    """Return whether all costs are budgets that several methods have in common, to the last digit.

    Parameters
    ----------
    part : pandas.DataFrame
        A panel's rows: ``macs``, ``method``.
    """
    return all(len(set(at["method"])) > 1 for _, at in part.groupby("macs"))


def _apart(part: pd.DataFrame) -> float:
    """Return how many points apart methods at one budget stand; where there is but one there is room."""
    return _APART if len(set(part["macs"])) > 1 else 4 * _APART


def _name_budgets(axis: Axes, budgets: list[float]) -> None:
    for budget in budgets:
        axis.axvline(budget, color="0.85", lw=0.7, zorder=0.5)
    axis.set_xticks(budgets)
    if any(abs(100 * budget - round(100 * budget)) > 1e-6 for budget in budgets):
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))


def _draw(figure: Figure, axis: Axes, part: pd.DataFrame, x: str, found: Mapping[str, Look], apart: float) -> bool:
    """Draw one panel, methods so many points apart; return whether an interval has no end."""
    endless = False
    here = [name for name in found if (part["method"] == name).any()]
    for number, name in enumerate(here):
        own, look = part[part["method"] == name].sort_values(x), found[name]
        shift = (number - (len(here) - 1) / 2) * apart / 72
        aside = ScaledTranslation(shift, 0, figure.dpi_scale_trans)
        place = axis.transData + aside
        axis.plot(own[x], own["value"], ls=look.dashes, lw=0.9, color=look.colour, transform=place, zorder=3)
        hollow = own["open"].to_numpy(bool) if "open" in own else own["value"].isna().to_numpy()
        for which, face, edge in ((~hollow, look.colour, 0.0), (hollow, "white", 0.8)):
            axis.plot(own[x][which], own["value"][which], look.marker, color=look.colour, mfc=face, mew=edge,
                      markersize=look.size(4.2), transform=place, zorder=4)  # fmt: skip
        if {"low", "high"} <= set(own):
            ends = own[["low", "high"]].to_numpy(float)
            endless |= draw_intervals(axis, own[x], ends, look.colour, 0.9, shift=aside)
        columns = [column for column in ("value", "low", "high") if column in own]
        reached = np.concatenate([own[[x, column]].to_numpy(float) for column in columns])
        axis.update_datalim(reached[np.isfinite(reached).all(axis=1)])
    axis.autoscale_view()
    return endless


def _scale(axis: Axes, part: pd.DataFrame, x: str) -> None:
    axis.margins(x=0.09, y=0.09)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if x != "ms" and part[x].between(0, 1.5).all():
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif x == "ms":
        axis.set_xlim(left=0)
    if part["value"].between(0, 1.5).all():
        low, high = axis.get_ylim()
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1 if high - low < 0.03 else 0))
    if len(set(part[x])) == 1:  # nothing left and right of it
        axis.set_xticks([float(part[x].iloc[0])])
    axis.grid(axis="y", color="0.93", lw=0.6)
    axis.set_axisbelow(True)

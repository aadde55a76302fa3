"""What plans cost and what they are worth: the trade-off front."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fpgmlab.allocation.pareto import pareto_front
from fpgmlab.errors import one_of, unknown
from fpgmlab.figures.parts import along, draw_intervals, endless_intervals, legend_above, text_places, text_width
from fpgmlab.figures.style import CYCLE, Style, new_figure, small
from fpgmlab.sensitivity.curves.metrics import METRICS

COSTS = ("macs", "ms")
_MARKERS = "os^Dv<>P"
_DIRECT = 5  # methods up to which each has its name beside its points


def tradeoff(
    frame: pd.DataFrame,
    unpruned: Mapping[str, float] | None = None,
    *,
    cost: str = "macs",
    metric: str | None = None,
    higher_is_better: bool | None = None,
    style: Style | None = None,
) -> Figure:
    """Show plans of several methods: a metric against what remains to pay, and the front of those that none beats.

    The grey step line is the front of all methods together: the best value to be had for at most so much.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each plan: method, macs (a fraction of the unpruned network's when all are at most 1, else a count) or
        ms, value and, if known, low and high, the ends of its interval (dotted where infinite: not known); metric when
        there are several.
    unpruned : mapping, optional
        The unpruned network's ``{"macs": ..., "value": ...}``: a cross, and a dashed line at its value.
    cost : {"macs", "ms"}
        What is paid: MACs, or milliseconds of one call.
    metric : str, optional
        Which of the frame's; the first when left out. Without such a column, what ``value`` is.
    higher_is_better : bool, optional
        Known for the metrics of `fpgmlab.sweep`; true for others.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns, without the metric, or with costs or values that are no numbers; for
        another cost.
    """
    if cost not in COSTS:
        raise ValueError(one_of("cost", cost, COSTS))
    metric, frame = _rows(frame, metric, cost)
    if higher_is_better is None:
        higher_is_better = METRICS[metric].higher_is_better if metric in METRICS else True
    unit, name = _unit(frame[cost]) if cost == "macs" else (1.0, "milliseconds")
    methods = list(dict.fromkeys(frame["method"]))
    with new_figure(4.6, 3.2, style) as figure:
        axis = figure.subplots()
        endless = False
        looks = {m: (CYCLE[i % len(CYCLE)], _MARKERS[i % len(_MARKERS)]) for i, m in enumerate(methods)}
        for method, (colour, marker) in looks.items():
            mine = frame[frame["method"] == method].sort_values(cost)
            x = mine[cost] / unit
            axis.plot(x, mine["value"], color=colour, marker=marker, markersize=4, lw=0.9, mew=0, zorder=3)
            if {"low", "high"} <= set(mine.columns):
                endless |= draw_intervals(axis, x, mine[["low", "high"]].to_numpy(float), colour, 1.0, alpha=0.6)
        _draw_front(axis, frame, cost, unit, higher_is_better)
        if unpruned is not None:
            axis.axhline(unpruned["value"], color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1)
            axis.plot(unpruned[cost] / unit, unpruned["value"], "x", color="0.1", markersize=6, mew=1.3, zorder=4)
        axis.set(xlabel=name, ylabel=metric)
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.margins(x=0.1, y=0.1)
        if cost == "macs" and frame["macs"].max() <= 1:
            axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if frame["value"].between(0, 1).all():
            fine = frame["value"].max() - frame["value"].min() < 0.04
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1 if fine else 0))
        axis.grid(axis="y", color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        handles = [Line2D([], [], color="0.6", lw=2.2, alpha=0.6, label="front: none beats these")]
        if unpruned is not None:
            handles.append(Line2D([], [], color="0.1", marker="x", ls=(0, (3, 2)), lw=0.7, markersize=6, mew=1.3,
                                  label="unpruned network"))  # fmt: skip
        if endless:
            handles.append(endless_intervals())
        if len(methods) > _DIRECT:
            handles += [
                Line2D([], [], color=c, marker=m, markersize=4, lw=0.9, mew=0, label=label)
                for label, (c, m) in looks.items()
            ]
        legend_above(figure, handles)
        if len(methods) <= _DIRECT:
            _name_lines(figure, axis, frame, cost, unit, {label: colour for label, (colour, _) in looks.items()})
    return figure


def _rows(frame: pd.DataFrame, metric: str | None, cost: str) -> tuple[str, pd.DataFrame]:
    missing = [name for name in ("method", cost, "value") if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, one for each plan; missing columns: {missing or 'none'}")
    if "metric" in frame:
        metric = frame["metric"].iloc[0] if metric is None else metric
        if metric not in set(frame["metric"]):
            raise ValueError(unknown("metric", metric, dict.fromkeys(frame["metric"])))
        frame = frame[frame["metric"] == metric]
    bad = frame[~np.isfinite(frame[[cost, "value"]].to_numpy(float)).all(axis=1)]
    if len(bad):
        raise ValueError(f"{cost} and value must be numbers; method {bad['method'].iloc[0]!r} has NaN or infinite ones")
    return metric or "value", frame.reset_index(drop=True)


def _unit(macs: pd.Series) -> tuple[float, str]:
    if macs.max() <= 1:
        return 1.0, "MACs, of the unpruned network's"
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if macs.max() >= size:
            return size, f"MACs of one example ({word})"
    return 1.0, "MACs of one example"


def _draw_front(axis: Axes, frame: pd.DataFrame, cost: str, unit: float, higher_is_better: bool) -> None:
    front = frame[pareto_front(frame[cost].to_numpy(), frame["value"].to_numpy(), higher_is_better)]
    front = front.drop_duplicates([cost, "value"]).sort_values(cost)
    x, y = front[cost].to_numpy(float) / unit, front["value"].to_numpy(float)
    # Whoever may spend more can still take the cheaper plan: the value holds up to the next better one.
    axis.step(x, y, where="post", color="0.6", lw=2.2, alpha=0.6, zorder=2, solid_joinstyle="miter")


def _drawn(axis: Axes) -> np.ndarray:
    """Return all straight lines of the axes, curves and intervals, (lines, 2, 2) in pixels."""
    curves = [line.get_transform().transform(line.get_path().vertices) for line in axis.lines]
    bars = [part.get_transform().transform(path.vertices) for part in axis.collections for path in part.get_paths()]
    found = [pair for corners in (*curves, *bars) for pair in pairwise(corners)]
    return np.array(found, dtype=float).reshape(-1, 2, 2)


def _name_lines(
    figure: Figure, axis: Axes, frame: pd.DataFrame, cost: str, unit: float, colours: Mapping[str, str]
) -> None:
    """Write each method's name beside that of its points which is farthest from other methods' points."""
    figure.draw_without_rendering()  # the scale is known only now
    to_points = 72 / figure.dpi
    spots = axis.transData.transform(np.column_stack([frame[cost] / unit, frame["value"]])) * to_points
    owner = frame["method"].to_numpy()
    chosen = []
    for method in colours:
        mine, others = np.flatnonzero(owner == method), spots[owner != method]
        gaps = [np.linalg.norm(others - spots[i], axis=1).min(initial=1e9) for i in mine]
        chosen.append(mine[int(np.argmax(gaps))])
    rest = np.setdiff1d(np.arange(len(spots)), chosen)
    sizes = np.array([(text_width(method), 0.8 * small()) for method in colours])
    lines = along(_drawn(axis) * to_points)
    points = np.concatenate([spots[chosen], spots[rest], lines])
    bounds = axis.get_window_extent().get_points() * to_points + np.array([[4.0], [-4.0]])
    radius = np.repeat([3.0, 1.0], [len(spots), len(lines)])
    where = text_places(points, sizes, bounds, radius)
    for (method, colour), i, spot in zip(colours.items(), chosen, where, strict=True):
        x, y = frame[cost].iloc[i] / unit, frame["value"].iloc[i]
        axis.annotate(method, (x, y), spot - spots[i], textcoords="offset points", ha="center", va="center_baseline",
                      fontsize=small(), color=colour, zorder=5)  # fmt: skip

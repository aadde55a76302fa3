"""How far the drops of single groups add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fpgmlab.figures.parts import all_shortened, along, legend_above, mark, text_places, text_width
from fpgmlab.figures.style import BLUE, GREY, ORANGE, Style, new_figure, small
from fpgmlab.sensitivity.curves.frame import worse_word
from fpgmlab.sensitivity.curves.metrics import METRICS

_NAMED = 3  # steps whose group is named
_COLUMNS = ("group", "metric", "predicted_so_far", "measured_so_far", "low", "high")


def additivity(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show what was predicted by adding up each group's own change against what the joint pruning really does.

    A point for each step at which one more group is pruned; both axes have one scale, and on the diagonal the changes
    add up. Named are the groups at which the departure from it grows most.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.additivity`: group, metric, predicted_so_far, measured_so_far (how much worse the metric is once
        this group and those of the rows above are pruned), low and high, the ends of the measured one's interval. A
        fraction such as "accuracy" is shown in points.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns, or with NaN.
    """
    missing = [name for name in _COLUMNS if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, as from fpgmlab.additivity; missing columns: {missing or 'none'}")
    values = frame[["predicted_so_far", "measured_so_far"]].to_numpy(float)  # (groups, 2)
    if not np.isfinite(values).all():
        group = frame["group"][~np.isfinite(values).all(axis=1)].iloc[0]
        raise ValueError(f"predicted and measured must be finite numbers; group {group!r} has others")
    metric = frame["metric"].iloc[0]
    what = worse_word(metric, METRICS[metric].higher_is_better).split()[0] if metric in METRICS else "worsening"
    # Predictions are sums and may pass 1; what was measured of a fraction cannot.
    share = metric in ("accuracy", "agreement") and np.abs(values[:, 1]).max() <= 1
    points = values * (100 if share else 1)
    ends = frame[["low", "high"]].to_numpy(float) * (100 if share else 1)
    reach = max(0.0, points.max())  # what wide intervals have more than half of it again is cut off
    low, high = min(0.0, points.min()), max(reach, min(ends.max(), 1.5 * reach))
    room = 0.06 * ((high - low) or 1.0)
    limits = (low - room, high + room)
    with new_figure(3.6, lambda width, text: width + text, style) as figure:
        axis = figure.subplots()
        axis.plot(limits, limits, color=GREY, lw=0.8, ls=(0, (3, 2)), zorder=1)
        axis.vlines(points[:, 0], *ends.clip(*limits).T, color=BLUE, lw=0.8, alpha=0.5, zorder=2)
        axis.plot(*points.T, color=BLUE, lw=0.8, alpha=0.5, zorder=2)
        axis.scatter(points[:, 0], points[:, 1], s=12, color=BLUE, linewidths=0, zorder=3)
        named = _largest(points)
        axis.scatter(points[named, 0], points[named, 1], s=16, color=ORANGE, linewidths=0, zorder=4)
        unit = " (points)" if share else ""
        axis.set(xlim=limits, ylim=limits, aspect="equal")
        axis.set(xlabel=f"predicted {what} of {metric}{unit}", ylabel=f"measured {what}{unit}")
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_locator(MaxNLocator(5))
        axis.grid(color="0.94", lw=0.5)
        axis.set_axisbelow(True)
        handles = [mark("after each group", BLUE, markersize=4)]
        if len(named):
            handles.append(mark("largest departures", ORANGE, markersize=4))
        diagonal = axis.lines[0]
        diagonal.set_label("changes add up")
        legend_above(figure, [*handles, diagonal])
        if len(named):
            _name(figure, points, ends.clip(*limits), named, list(frame["group"]))
    return figure


def _largest(points: np.ndarray) -> np.ndarray:
    """Return the steps at which the distance from the diagonal grows most, in order; none where all is on it."""
    gaps = np.abs(points[:, 1] - points[:, 0])
    grown = np.diff(gaps, prepend=0.0)
    tiny = 1e-9 * max(1.0, np.abs(points).max())
    return np.array(sorted(i for i in np.argsort(-grown, kind="stable")[:_NAMED] if grown[i] > tiny), dtype=int)


def _name(figure: Figure, points: np.ndarray, ends: np.ndarray, named: np.ndarray, groups: list[str]) -> None:
    axis = figure.axes[0]
    figure.draw_without_rendering()  # the scale is known only now
    to_points = 72 / figure.dpi
    spots = axis.transData.transform(points) * to_points
    bounds = axis.get_window_extent().get_points() * to_points + np.array([[2.0], [-2.0]])  # a box covers no axis
    diagonal = np.array([[axis.get_xlim()] * 2]).transpose(0, 2, 1)  # (1, 2, 2)
    bars = np.stack([points[:, [0, 0]], ends], axis=2)  # (groups, 2, 2)
    way = np.stack([points[:-1], points[1:]], axis=1)
    lines = axis.transData.transform(np.concatenate([diagonal, bars, way]).reshape(-1, 2)).reshape(-1, 2, 2)
    drawn = along(lines * to_points)
    names = all_shortened([groups[i] for i in named], 0.45 * (bounds[1, 0] - bounds[0, 0]))
    others = np.setdiff1d(np.arange(len(points)), named)
    taken = np.concatenate([spots[named], spots[others], drawn])
    radius = np.repeat([2.5, 1.0], [len(points), len(drawn)])
    sizes = np.array([(text_width(name), 0.8 * small()) for name in names])
    where = text_places(taken, sizes, bounds, radius)
    for i, name, spot in zip(named, names, where, strict=True):
        far = np.linalg.norm(spot - spots[i]) > 3 * small()
        line = {"arrowstyle": "-", "lw": 0.4, "color": "0.4", "shrinkA": 0, "shrinkB": 2}
        axis.annotate(name, points[i], spot - spots[i], textcoords="offset points", ha="center", va="center_baseline",
                      fontsize=small(), color="0.2", arrowprops=line if far else None, zorder=5,
                      bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.3, "lw": 0})  # fmt: skip

"""Sensitivity as a heat map: what each group costs at each ratio, hatched where nothing was measured."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fpgmlab.figures.parts import NOT_MEASURABLE, hatch, hatched, legend_above, name_rows, rows
from fpgmlab.figures.style import Style, new_figure
from fpgmlab.sensitivity.curves.frame import (
    checked_groups,
    is_higher_better,
    is_share,
    one_metric,
    worse_word,
    worsening,
)

_REACH = 0.075  # of the channels: how far a cell goes to either side of what was measured, so that tenths meet
_DOT: dict[str, Any] = {"ls": "none", "marker": "o", "markersize": 1.8, "color": "0.35", "mew": 0}
_PLUS: dict[str, Any] = {"ls": "none", "marker": "+", "markersize": 4, "color": "0.35", "mew": 0.8}
_NEAR = 0.8  # of the highest value: the last tick of the scale lies no lower
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def sensitivity_map(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    unmeasurable: Collection[str] = (),
    higher_is_better: bool | None = None,
    style: Style | None = None,
) -> Figure:
    """Show all groups as one heat map: how much worse the metric is than the unpruned network's, by ratio.

    Each cell reaches half-way to the group's next ratios, but no further than 7.5 % of the channels, or half a channel
    of few, to either side of its own; the last one ends at it. What lies between and beyond was not measured and is
    hatched. The colour goes with the square root, so that small drops are seen. A dot: the 95 %
    interval holds the unpruned network's value, so the cell may be no drop at all. A plus: all of it is better.

    Parameters
    ----------
    frame, metric, unmeasurable, style
        As in `sensitivity_curves`.
    higher_is_better : bool, optional
        Of a metric of which the frame does not know it.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError
        As `sensitivity_curves`.
    ValueError
        As `sensitivity_curves`; when it is not known of the metric which values are better.
    """
    metric, frame = one_metric(frame, metric)
    groups = list(dict.fromkeys(frame["group"]))
    blind = checked_groups(unmeasurable, groups)
    higher_is_better = is_higher_better(frame, metric, higher_is_better)
    worse = worsening(frame, higher_is_better)
    seen = ~frame["group"].isin(blind)
    limit = max(float(worse["value"][seen].max()), 0.0) if seen.any() else 0.0
    top = limit or 1.0
    norm = PowerNorm(0.5, vmin=0, vmax=top)
    with new_figure(5.4, rows(len(groups), room=1.0), style) as figure:
        axis = figure.subplots()
        dots, gains, beyond = [], [], False
        for i, group in enumerate(groups):
            mine = worse[frame["group"] == group]
            if group in blind:
                hatch(axis, (0, i - 0.5), (1, 1))
                continue
            ratios = frame["ratio"][mine.index].to_numpy()
            cells = _cells(ratios, frame["kept"][mine.index].to_numpy() if "kept" in frame else None)
            ends = [*cells[1:, 0], 1.0]
            holes = [(low, high) for low, high in zip(cells[:, 1], ends, strict=True) if high - low > 1e-9]
            drop = np.full((len(cells), 2), np.nan)  # of a cell, and of what lies behind it: nothing
            drop[:, 0] = mine["value"].clip(lower=0)
            axis.pcolormesh(
                [*cells.ravel()], [i - 0.5, i + 0.5], drop.ravel()[None, :-1], cmap="Blues", norm=norm,
                edgecolors="white", linewidth=0.3,
            )  # fmt: skip
            for low, high in holes:
                hatch(axis, (low, i - 0.5), (high - low, 1))
            beyond |= bool(holes)
            unsure = (ratios > 0) & (mine["low"] <= 0).to_numpy() & (mine["high"] >= 0).to_numpy()
            dots += [(x, i) for x in cells.mean(axis=1)[unsure]]
            gains += [(x, i) for x in cells.mean(axis=1)[(mine["high"] < 0).to_numpy()]]
        axis.plot(*np.array(dots).reshape(-1, 2).T, **_DOT)
        axis.plot(*np.array(gains).reshape(-1, 2).T, **_PLUS)
        axis.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5))
        axis.set(xlabel="ratio: share of the group's channels removed", ylabel="channel group, in network order")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.spines[:].set_visible(False)
        name_rows(axis.yaxis, groups)
        _draw_scale(figure, axis, norm, top, worse_word(metric, higher_is_better), is_share(frame))
        handles = [Line2D([], [], **_DOT, label="may be no change")]
        if gains:
            handles.append(Line2D([], [], **_PLUS, label="better"))
        words = [word for word, is_there in (("not measured", beyond), (NOT_MEASURABLE, blind)) if is_there]
        legend_above(figure, [*handles, hatched(" or ".join(words))] if words else handles)
    return figure


def _cells(ratios: np.ndarray, kept: np.ndarray | None) -> np.ndarray:
    """Return where the cell of each ratio begins and ends, (n, 2)."""
    channels = float(kept.max()) if kept is not None and ratios[0] == 0 else np.inf
    reach = max(_REACH, 0.5 / channels)  # between two numbers of channels that differ by one lies nothing
    middle = (ratios[1:] + ratios[:-1]) / 2
    begins = np.maximum(ratios - reach, [0.0, *middle])
    ends = np.minimum(ratios + reach, [*middle, ratios[-1] if len(ratios) > 1 else 1.0])
    return np.column_stack([begins, ends])


def _draw_scale(figure: Figure, axis: Axes, norm: PowerNorm, top: float, label: str, share: bool) -> None:
    bar = figure.colorbar(ScalarMappable(norm, "Blues"), ax=axis, label=label, aspect=30, pad=0.02)
    inside = [tick for tick in _TICKS if 0.004 * top <= tick <= top]
    ticks = [0, *inside[-5:]] if len(inside) >= 3 else [*MaxNLocator(4).tick_values(0, top)]
    if max(tick for tick in ticks if tick <= top) < _NEAR * top:  # how dark the darkest is has to be said
        step = 10.0 ** (np.floor(np.log10(top)) - 1)
        ticks.append(float(np.floor(top / step + 1e-9) * step))
    bar.set_ticks(ticks)
    bar.ax.set_ylim(0, top)
    if share:
        bar.formatter = PercentFormatter(1.0, decimals=0 if top >= 0.04 else 1)
    bar.outline.set_visible(False)

"""Before, after pruning, after repair, after fine-tuning."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fpgmlab.figures.parts import percents
from fpgmlab.figures.style import BLUE, GREY, ORANGE, RED, Style, new_figure, small

_SIZE = 7.0  # of a marker, in points
_ARROW = 24.0  # points between two markers, above which an arrow has room


def recovery(stages: pd.DataFrame, metric: str = "accuracy", *, style: Style | None = None) -> Figure:
    """Show a metric against the MACs at each stage: original, pruned, repaired, fine-tuned.

    Parameters
    ----------
    stages : pandas.DataFrame
        A row for each stage, in order, with ``stage``, ``macs`` and the metric (a fraction).
    metric : str
        The column to show.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure
    """
    macs, values = stages["macs"] / 1e6, stages[metric]
    colours = [GREY, RED, BLUE, ORANGE]
    with new_figure(4.6, 3.0, style) as figure:
        axis = figure.subplots()
        for i, row in enumerate(stages.itertuples()):
            # Where no arrow passes: above the first point, below one that an arrow reaches from above, else beside it;
            # to the left if there is room, as the first point is on the right.
            if i == 0:
                place, ha, va = (0, 7), "center", "bottom"
            elif values.iloc[i] < values.iloc[i - 1]:
                place, ha, va = (7, -2), "left", "top"
            elif macs.iloc[i] > 0.35 * macs.max():
                place, ha, va = (-9, 0), "right", "center"
            else:
                place, ha, va = (9, 0), "left", "center"
            if i > 1 and ha != "center":  # apart from the stage above or below that ends nearly there
                va = _beside(values.to_numpy(float), i)
            axis.annotate(
                f"{row.stage}\n{values.iloc[i]:.2%}", (macs.iloc[i], values.iloc[i]), place,
                textcoords="offset points", ha=ha, va=va, fontsize=small(), color=colours[i % 4],
            )  # fmt: skip
        axis.set(xlabel="MACs of one picture (million)", ylabel=metric, xlim=(0, 1.12 * macs.max()))
        low, high = values.min(), values.max()
        room = 0.1 * (high - low) + 0.005
        bottom, top = low - 2 * room, high + 2.5 * room
        axis.set_ylim(bottom, top)
        axis.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axis.set_yticks([tick for tick in axis.get_yticks() if bottom <= tick <= min(top, 1 + 1e-9)])
        if high <= 1 < top:  # room for a text above, but no axis past 100 %
            axis.spines["left"].set_bounds(bottom, 1)
        axis.yaxis.set_major_formatter(percents())
        axis.grid(axis="y", color="0.93", linewidth=0.6)
        axis.set_axisbelow(True)
        figure.draw_without_rendering()  # the scale is known only now
        places = axis.transData.transform(np.column_stack([macs, values])) * 72 / figure.dpi
        for i, place in enumerate(places):
            near = np.linalg.norm(places[:i] - place, axis=1).min(initial=np.inf)
            size = _SIZE if near > _SIZE else 0.5 * _SIZE  # what it covers stands out around it
            axis.plot(macs.iloc[i], values.iloc[i], "o", color=colours[i % 4], markersize=size, mew=0, zorder=3)
            if i and np.linalg.norm(place - places[i - 1]) > _ARROW:
                axis.annotate(
                    "", (macs.iloc[i], values.iloc[i]), (macs.iloc[i - 1], values.iloc[i - 1]), zorder=1,
                    arrowprops={"arrowstyle": "-|>", "color": "0.75", "shrinkA": 6, "shrinkB": 6, "lw": 1},
                )  # fmt: skip
    return figure


def _beside(values: np.ndarray, i: int) -> str:
    """Return how the text of a later stage stands to its point: out of the way of the nearest other one."""
    others = [j for j in range(2, len(values)) if j != i]
    near = min(others, key=lambda j: abs(values[j] - values[i]), default=i)
    if near == i or abs(values[near] - values[i]) > 0.2 * np.ptp(values):
        return "center"
    return "bottom" if (values[i], i) > (values[near], near) else "top"

"""Before, after pruning, after fine-tuning."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fpgmlab.figures.style import BLUE, GREY, ORANGE, RED, new_figure


def recovery(stages: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Show a metric against the MACs at each stage: original, pruned, fine-tuned.

    Parameters
    ----------
    stages : pandas.DataFrame
        A row for each stage, in order, with ``stage``, ``macs`` and the metric (a fraction).
    metric : str
        The column to show.
    """
    macs, values = stages["macs"] / 1e6, stages[metric]
    colours = [GREY, RED, BLUE, ORANGE]
    with new_figure(4.6, 3.0) as figure:
        axis = figure.subplots()
        for i in range(1, len(stages)):
            axis.annotate(
                "", (macs.iloc[i], values.iloc[i]), (macs.iloc[i - 1], values.iloc[i - 1]),
                arrowprops={"arrowstyle": "-|>", "color": "0.75", "shrinkA": 6, "shrinkB": 6, "lw": 1},
            )  # fmt: skip
        for i, row in enumerate(stages.itertuples()):
            axis.plot(macs.iloc[i], values.iloc[i], "o", color=colours[i % 4], markersize=7)
            text = f"{row.stage}\n{values.iloc[i]:.2%}"
            left = macs.iloc[i] > macs.mean()
            axis.annotate(
                text, (macs.iloc[i], values.iloc[i]), (-9 if left else 9, -4), textcoords="offset points",
                ha="right" if left else "left", va="top", fontsize=8, color=colours[i % 4],
            )  # fmt: skip
        axis.set(xlabel="multiply-accumulates of one picture (million)", ylabel=metric, xlim=(0, 1.12 * macs.max()))
        low, high = values.min(), values.max()
        axis.set_ylim(low - 0.25 * (high - low) - 0.005, high + 0.1 * (high - low) + 0.005)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.grid(axis="y", color="0.93", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure

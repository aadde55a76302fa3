"""What slimming costs: a metric against the global ratio."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fpgmlab.figures.parts import legend_above, percents
from fpgmlab.figures.style import CYCLE, Style, new_figure

_LINES = ["-", (0, (4, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5))]
_MARKERS = "os^D"


def slimming_curve(
    frame: pd.DataFrame,
    cliff: float | Mapping[str, float] | None = None,
    metric: str | None = None,
    *,
    style: Style | None = None,
) -> Figure:
    """Show a metric against the share of the network's channels that is removed.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns network, ratio (0 to 1) and a metric; with ``stage`` (such as "pruned", "fine-tuned") each stage of each
        network is a curve of its own.
    cliff : float or mapping of str to float, optional
        The ratio beyond which layers hit their floor, see `fpgmlab.thresholds.floors`; of each network by its name.
    metric : str, optional
        The column with the metric, a fraction such as "accuracy"; the only further one when left out.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows, the columns network and ratio or a metric; without ``metric``, for several.
    """
    rest = [name for name in frame.columns if name not in ("network", "ratio", "stage")]
    metric = rest[0] if metric is None and len(rest) == 1 else metric
    if metric is None or metric not in frame or frame.empty or not {"network", "ratio"} <= set(frame.columns):
        raise ValueError(
            f"the frame must have rows and columns network, ratio and the metric; got {list(frame.columns)} and "
            f"metric={metric!r}"
        )
    networks = list(dict.fromkeys(frame["network"]))
    stages = list(dict.fromkeys(frame["stage"])) if "stage" in frame else [None]
    with new_figure(4.6, 3.0, style) as figure:
        axis = figure.subplots()
        for i, network in enumerate(networks):
            for j, stage in enumerate(stages):
                mine = frame[frame["network"] == network]
                mine = (mine if stage is None else mine[mine["stage"] == stage]).sort_values("ratio")
                axis.plot(mine["ratio"], mine[metric], color=CYCLE[i % len(CYCLE)], ls=_LINES[j % 4],
                          marker=_MARKERS[i % 4], markersize=3)  # fmt: skip
        handles = [
            Line2D([], [], color=CYCLE[i % len(CYCLE)], marker=_MARKERS[i % 4], markersize=3, label=name)
            for i, name in enumerate(networks)
        ]
        if stages != [None]:
            handles += [Line2D([], [], color="0.3", ls=_LINES[j % 4], label=name) for j, name in enumerate(stages)]
        cliffs = cliff if isinstance(cliff, Mapping) else {} if cliff is None else {"": cliff}
        for name, ratio in cliffs.items():
            colour = CYCLE[networks.index(name) % len(CYCLE)] if name in networks else "0.2"
            axis.axvline(ratio, color=colour, lw=0.9, ls=(0, (2, 2)), zorder=0)
        if cliffs:
            handles.append(Line2D([], [], color="0.3", lw=0.9, ls=(0, (2, 2)), label="cliff"))
        axis.set(xlabel="global ratio: share of all prunable channels removed", ylabel=metric)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if frame[metric].between(0, 1).all():
            axis.yaxis.set_major_formatter(percents())
        axis.grid(axis="y", color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        legend_above(figure, handles, handlelength=2.4)
    return figure

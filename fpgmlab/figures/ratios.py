"""Plans beside each other: what share of each group's channels they remove."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fpgmlab.figures.looks import looks
from fpgmlab.figures.parts import legend_above, name_columns
from fpgmlab.figures.style import Style, new_figure


def plan_ratios(frames: Mapping[str, pd.DataFrame], *, style: Style | None = None) -> Figure:
    """Show the ratio of each group in several plans of one network, in network order; protected groups are left out.

    Parameters
    ----------
    frames : mapping of str to pandas.DataFrame
        By the plan's name, from ``plan.frame(graph)``.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Without plans, or for plans of different groups.
    """
    if not frames:
        raise ValueError("plan_ratios shows at least one plan; got none")
    first = next(iter(frames.values()))
    groups = list(first["group"])
    for name, frame in frames.items():
        if list(frame["group"]) != groups:
            raise ValueError(f"all plans must be of one network's groups, in its order; those of {name!r} are others")
    free = (first["protected"].isna() | (first["protected"] == "")).to_numpy(bool)
    place, found = np.arange(int(free.sum())), looks(frames)
    with new_figure(min(7.0, 0.34 * len(place) + 2.0), lambda _, text: 1.25 + 10 * text, style) as figure:
        axis = figure.subplots()
        for column in place[::2]:
            axis.axvspan(column - 0.5, column + 0.5, color="0.96", lw=0)
        for number, (name, look) in enumerate(found.items()):
            rows = frames[name][free]
            ratio = 1 - rows["kept"].to_numpy(float) / rows["channels"].to_numpy(float)
            shift = 0.18 * (number - (len(found) - 1) / 2)
            axis.plot(place + shift, ratio, look.marker, color=look.colour, markersize=look.size(4.2), mew=0, zorder=3,
                      clip_on=False)  # fmt: skip
            axis.vlines(place + shift, 0, ratio, color=look.colour, lw=0.8, ls=look.dashes, zorder=2)
        name_columns(axis.xaxis, [name for name, there in zip(groups, free, strict=True) if there],
                     0.84 * figure.get_figwidth())  # fmt: skip
        axis.set(xlabel="channel group, in network order", ylabel="ratio removed", xlim=(-0.6, len(place) - 0.4))
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.grid(axis="y", color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        legend_above(figure, [look.handle(name) for name, look in found.items()], handlelength=2.4)
    return figure

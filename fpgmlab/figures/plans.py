"""Plans: what is kept of each group."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fpgmlab.figures.style import BLUE, GREY, LIGHT, new_figure


def plan_bars(frame: pd.DataFrame) -> Figure:
    """Show the channels of each group, kept and removed, in network order.

    Parameters
    ----------
    frame : pandas.DataFrame
        From ``plan.frame(graph)``.
    """
    place = np.arange(len(frame))
    protected = frame["protected"].astype(bool).to_numpy()
    with new_figure(min(7.0, 0.3 * len(frame) + 2.0), 3.0) as figure:
        axis = figure.subplots()
        axis.bar(place, frame["channels"], color=LIGHT, width=0.8, label="removed")
        axis.bar(place, frame["kept"], color=np.where(protected, GREY, BLUE), width=0.8)
        # Legends take a bar's first colour; each entry gets a bar of its own.
        axis.bar(0, 0, color=BLUE, label="kept")
        if protected.any():
            axis.bar(0, 0, color=GREY, label="protected")
        axis.set_xticks(place, frame["group"], rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        axis.set(ylabel="channels", xlabel="channel group, in network order")
        axis.margins(x=0.01)
        axis.legend(ncols=3, loc="upper left")
    return figure

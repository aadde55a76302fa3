"""Plans: what is kept of each group."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fpgmlab.figures.parts import is_protected, legend_above, name_columns, swatch
from fpgmlab.figures.style import BLUE, GREY, LIGHT, Style, new_figure


def plan_bars(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show the channels of each group, kept and removed, in network order.

    Parameters
    ----------
    frame : pandas.DataFrame
        From ``plan.frame(graph)``.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError
        When it is no table, such as the plan itself.

    Examples
    --------
    >>> figure = fl.figures.plan_bars(plan.frame(graph))
    >>> [bar.get_ylabel() != "" for bar in figure.axes[:1]]
    [True]
    """
    if hasattr(frame, "removed"):
        raise TypeError("give the plan's table: plan.frame(graph)")
    place = np.arange(len(frame))
    protected = is_protected(frame["protected"])
    with new_figure(min(7.0, 0.3 * len(frame) + 2.0), 3.0, style) as figure:
        axis = figure.subplots()
        axis.bar(place, frame["channels"], color=LIGHT, width=0.8)
        axis.bar(place, frame["kept"], color=np.where(protected, GREY, BLUE), width=0.8)
        name_columns(axis.xaxis, list(frame["group"]), 0.84 * figure.get_figwidth())
        axis.set(ylabel="channels", xlabel="channel group, in network order")
        axis.margins(x=0.01)
        handles = [swatch("kept", BLUE), swatch("removed", LIGHT)]
        legend_above(figure, [*handles, swatch("protected", GREY)] if protected.any() else handles)
    return figure

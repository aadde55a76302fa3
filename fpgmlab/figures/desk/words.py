"""The words on a picture of the desk: channels kept, stages, totals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes

from fpgmlab.allocation.forecast import forecast
from fpgmlab.common.modules import stage
from fpgmlab.figures.parts import points_across, text_width
from fpgmlab.figures.style import small
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves


def write_kept(
    axis: Axes, graph: ChannelGraph, plan: Plan, row: Sequence[str], place: np.ndarray, pitch: float
) -> float:
    """Write the channels kept above the bars, if they fit; return how high what comes above stands, in points."""
    kept = [str(plan.kept.get(name, graph[name].channels)) for name in row]
    if max(map(text_width, kept)) + 2 > pitch:
        return 3.0
    for name, x, count in zip(row, place, kept, strict=True):
        colour = "black" if plan.removed.get(name) else "0.45"
        axis.annotate(count, (x, 1), (0, 2), xycoords=axis.transData, textcoords="offset points", ha="center",
                      fontsize=small(), color=colour)  # fmt: skip
    return 4.0 + 1.2 * small()


def write_stages(axis: Axes, row: Sequence[str], place: np.ndarray, pitch: float, above: float) -> set[str]:
    """Write the stages' names above their first bars, where there is room; return those that are there."""
    written, first = set(), 0
    for name, bars in groupby(row, stage):
        count = len(list(bars))
        room = pitch * (count if first + count == len(row) else place[first + count] - place[first]) - 4
        choices = (name, name.rpartition(".")[2])
        title = next((each for each in choices if 1.12 * text_width(each) <= room), "")  # bold letters are wider
        # Of a single bar it may say nothing that its name below does not.
        if (title == name != row[first]) or (count > 1 and title):
            axis.annotate(title, (place[first] - 0.5, 1), (0, above), textcoords="offset points", fontsize=small(),
                          weight="bold")  # fmt: skip
            written.add(name)
        first += count
    return written


def write_totals(axis: Axes, above: float, graph: ChannelGraph, curves: Curves, plan: Plan, metric: str | None) -> None:
    """Write what the plan leaves and what is expected of it above the first row, in as many lines as it takes."""
    before, after = graph.cost(), graph.cost(plan)
    parts = [
        f"{after.macs / before.macs:.1%} of {_amount(before.macs)} MACs",
        f"{after.params / before.params:.1%} of {_amount(before.params)} parameters",
        f"{after.bytes / before.bytes:.1%} of {before.bytes / 1e6:.3g} MB",
    ]
    if metric is not None:
        parts.append(_expected(graph, curves, plan, metric))
    room = points_across(axis) - 7.5 * small()
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}  ·  {part}" if lines[-1] else part
        lines = [*lines[:-1], longer] if text_width(longer) <= room else [*lines, part]
    lines = [line for line in lines if line]
    axis.set_title("\n".join(lines), fontsize=small(), pad=above + 1.9 * small())


def _expected(graph: ChannelGraph, curves: Curves, plan: Plan, metric: str) -> str:
    found, base = forecast(graph, curves, plan, metric), curves.base[metric]
    bound = ("at most " if curves.higher_is_better(metric) else "at least ") if found.unknown else ""
    bound = f"after repair {bound}" if curves.repaired else bound
    if curves.is_share(metric):
        return f"{metric} predicted {bound}{found.value:.1%} ± {100 * found.half:.1f} (was {base:.1%})"
    return f"{metric} predicted {bound}{found.value:.3g} ± {found.half:.2g} (was {base:.3g})"


def _amount(count: int) -> str:
    """Return a number of MACs or parameters with three digits and a unit."""
    unit, letter = next((u, n) for u, n in ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, "")) if count >= u or u == 1)
    return f"{count / unit:.3g}{letter}"

"""The words on a picture of the desk: channels kept, stages, totals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fpgmlab.allocation.forecast import forecast
from fpgmlab.common.modules import stage
from fpgmlab.common.numbers import counted
from fpgmlab.deployment import LatencyTable
from fpgmlab.figures.parts import points_across, text_width
from fpgmlab.figures.style import small
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves

_FURTHEST = ("fine-tuned", "repaired", "as cut")  # networks; those further on the way are named first


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


def write_totals(axis: Axes, above: float, parts: Sequence[str]) -> None:
    """Write the totals above the first row, in as many lines as it takes."""
    room = points_across(axis) - 7.5 * small()
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}  ·  {part}" if lines[-1] else part
        lines = [*lines[:-1], longer] if text_width(longer) <= room else [*lines, part]
    lines = [line for line in lines if line]
    axis.set_title("\n".join(lines), fontsize=small(), pad=above + 1.9 * small())


def words_of_totals(
    graph: ChannelGraph, curves: Curves, plan: Plan, metric: str | None, measured: pd.DataFrame | None,
    table: LatencyTable | None,
) -> list[str]:  # fmt: skip
    """Return what a plan leaves, and its metric: as measured, the furthest network first; predicted without that."""
    before, after = graph.cost(), graph.cost(plan)
    parts = [
        f"{after.macs / before.macs:.1%} of {_amount(before.macs)} MACs",
        f"{after.params / before.params:.1%} of {_amount(before.params)} parameters",
        f"{after.bytes / before.bytes:.1%} of {before.bytes / 1e6:.3g} MB",
    ]
    if table is not None:
        parts.append(f"{table.latency(graph, plan):.3g} of {table.latency(graph):.3g} ms ({table.runtime})")
    if metric is None:
        return parts
    found = _measured(curves, metric, measured)
    return [*parts, *(found or [_expected(graph, curves, plan, metric)])]


def _measured(curves: Curves, metric: str, measured: pd.DataFrame | None) -> list[str]:
    if measured is None:
        return []
    missing = [name for name in ("network", "metric", "value", "low", "high", "samples") if name not in measured]
    if missing:
        raise ValueError(f"measured must have the columns of PlanEditor.measured; missing are {', '.join(missing)}")
    mine = measured[(measured["metric"] == metric) & np.isfinite(measured["value"].astype(float))].set_index("network")
    networks = [name for name in _FURTHEST if name in mine.index]
    if not networks:
        return []
    share, base = curves.is_share(metric), curves.base[metric]
    words = [f"{name} {_value(mine.loc[name], share)}" for name in networks]
    seen = dict.fromkeys(int(mine.loc[name, "samples"]) for name in networks)
    *others, last = seen
    samples = "".join(f"{count:,} and " for count in others) + counted(last, "sample")
    return [f"{metric} {words[0]} (was {base:{'.1%' if share else '.3g'}})", *words[1:], f"on {samples}"]


def _value(row: pd.Series, share: bool) -> str:
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    words = f"{value:.1%}" if share else f"{value:.3g}"
    if not (np.isfinite(low) and np.isfinite(high)):
        return words
    return f"{words} ({100 * low:.1f} to {100 * high:.1f})" if share else f"{words} ({low:.3g} to {high:.3g})"


def _expected(graph: ChannelGraph, curves: Curves, plan: Plan, metric: str) -> str:
    found, base = forecast(graph, curves, plan, metric), curves.base[metric]
    bound = ("at most " if curves.higher_is_better(metric) else "at least ") if found.unknown else ""
    bound = f"after repair {bound}" if curves.repaired else bound
    share, known = curves.is_share(metric), np.isfinite(found.half)
    spread = "unknown" if not known else f"{100 * found.half:.1f}" if share else f"{found.half:.2g}"
    value, was = (f"{each:.1%}" if share else f"{each:.3g}" for each in (found.value, base))
    return f"{metric} predicted {bound}{value} ± {spread} (was {was})"


def _amount(count: int) -> str:
    """Return a number of MACs or parameters with three digits and a unit."""
    unit, letter = next((u, n) for u, n in ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, "")) if count >= u or u == 1)
    return f"{count / unit:.3g}{letter}"

"""The plan editor's desk as a picture: a plan on top of the curves, what it costs and what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, PercentFormatter

from fpgmlab.allocation.degradation import Degradation, degradations
from fpgmlab.common.modules import stage
from fpgmlab.deployment import LatencyTable
from fpgmlab.errors import unknown
from fpgmlab.figures.desk.words import words_of_totals, write_kept, write_stages, write_totals
from fpgmlab.figures.parts import Face, hatch, hatched, legend_above, name_columns, swatch
from fpgmlab.figures.style import BLUE, LIGHT, Style, new_figure, small
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves
from fpgmlab.sensitivity.curves.frame import worse_word

# The plan editor's: from cream to navy. The lightness falls all the way, and all eyes tell blue from yellow.
DROPS = LinearSegmentedColormap.from_list("drops", ["#FAF4E1", "#EAD9A0", "#C7AC70", "#8B7A78", "#4C4E76", "#1A2654"])
DARKEST = 0.2  # drop of a metric between 0 and 1 that is as dark as colours get
_LEVELS = 96  # colours along a bar
_WIDTH = 0.86  # of a bar, where the next one begins at 1
_GAP = 0.8  # more between stages
_PROTECTED: Face = {"facecolor": "0.9", "edgecolor": "0.75", "lw": 0.4}
_TICK = 0.11  # beside a bar
_STEPS = "0.25"
_TALLEST = 8.6  # inches: what a page has room for


def desk(
    graph: ChannelGraph,
    curves: Curves,
    plan: Plan,
    *,
    metric: str | None = None,
    measured: pd.DataFrame | None = None,
    table: LatencyTable | None = None,
    steps: Mapping[str, Sequence[int]] | None = None,
    style: Style | None = None,
) -> Figure:
    """Show a plan as the plan editor does: a bar for each channel group, in network order, stages apart.

    The colour at each height of a bar is what removing so large a share of this group alone degrades, and the handle
    where the plan is. Above the bars the channels kept, where there is room; below them the MACs that remain in the
    layers that make a group's channels, of those they had. On top the totals, and the metric as it was measured; only
    where it was not, it is predicted by the sum of the single drops. A network with many groups takes several rows.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        See `fpgmlab.sweep`. What was not measured is hatched.
    plan : Plan
    metric : str, optional
        One that the curves have; their first when left out.
    measured : pandas.DataFrame, optional
        What was measured of this plan, as `fpgmlab.widgets.PlanEditor.measured` has it: network ("as cut", "repaired"
        or "fine-tuned"), metric, value, low, high, samples.
    table : LatencyTable, optional
        Adds the milliseconds to the totals.
    steps : mapping of str to sequence of int, optional
        Numbers of channels at the ends of a runtime's steps, by group: ticks beside the bars. What a plan keeps between
        two of them is wasted.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When the plan or the curves are of another network, or do not have the metric.
    """
    graph.check(plan)
    if metric is None:
        metric = next(iter(curves.base), None)
    elif metric not in curves.base:
        raise ValueError(f"the curves do not have it: {unknown('metric', metric, curves.base)}")
    known = {} if metric is None else degradations(graph, curves, metric)
    known = {name: c for name, c in known.items() if len(c.kept) > 1 and name not in curves.unmeasurable}
    darkest = _darkest(known, metric is not None and curves.is_share(metric))
    norm = Normalize(0, darkest)
    whole = graph.cost().macs
    shares = [{n: macs / whole for n, macs in graph.macs_by_group(p).items()} for p in (None, plan)]

    totals = words_of_totals(graph, curves, plan, metric, measured, table)

    def height(width: float, text: float) -> float:
        lines = len(_rows(list(graph), width, text))
        rest = 15 * text + 2.2 * text * max(0, 7 - width)
        return rest + lines * max(min(0.21 * width + 9 * text, (_TALLEST - rest) / lines), 11 * text)

    with new_figure(min(9.0, 0.26 * len(graph) + 3.2), height, style) as figure:
        rows = _rows(list(graph), figure.get_figwidth(), small() / 72)
        axes = figure.subplots(
            2 * len(rows), squeeze=False, height_ratios=[4 if len(rows) < 3 else 2.6, 1] * len(rows)
        )[:, 0]
        places = [_places(row) for row in rows]
        reach = max(place[-1] for place in places) + 0.6
        pitch = 72 * (figure.get_figwidth() - 7.5 * small() / 72) / (reach + 0.6)  # points from bar to bar, about
        for row, place, bars, strip in zip(rows, places, axes[::2], axes[1::2], strict=True):
            for name, x in zip(row, place, strict=True):
                _draw_bar(bars, x, graph[name].protected is not None, known.get(name), norm)
            _draw_steps(bars, place, [_heights(graph, name, steps) for name in row])
            _draw_handles(bars, place, [plan.ratios.get(name, 0.0) for name in row], pitch)
            above = write_kept(bars, graph, plan, row, place, pitch)
            titled = write_stages(bars, row, place, pitch, above)
            if bars is axes[0]:
                write_totals(bars, above, totals)
            _draw_macs(strip, place, *([share[name] for name in row] for share in shares))
            for axis in (bars, strip):
                axis.set_xlim(-0.6, reach)
            names = [name.removeprefix(f"{stage(name)}.") if stage(name) in titled else name for name in row]
            name_columns(strip.xaxis, names, len(row) * pitch / 72, place, min(90, 150 / len(rows)))
        for strip in axes[1::2]:
            strip.set_ylim(1.05 * max(shares[0].values()), 0)
        if known and metric is not None:
            _draw_scale(figure, axes, norm, darkest, metric, curves)
        axes[-1].set_xlabel("channel group, in network order")
        legend_above(figure, _entries(graph, known, bool(steps)))
    return figure


def _darkest(known: dict[str, Degradation], share: bool) -> float:
    tops = sorted(top for top in (float(curve.drop[-1]) for curve in known.values()) if top > 0)
    if not tops:
        return 1.0
    # Other metrics have no natural limit, and a few groups' largest drops are out of all proportion.
    return min(DARKEST, tops[-1]) if share else tops[len(tops) // 2]


def _rows(names: Sequence[str], width: float, text: float) -> list[list[str]]:
    """Split the groups into at most four rows in which each bar's name can be read, by stages if possible."""
    room = max(4, int((width - 7.5 * text) / (1.27 * text)) - round(_GAP * len(set(map(stage, names)))))
    count = min(4, -(-len(names) // room))
    ends = [i for i in range(1, len(names)) if stage(names[i]) != stage(names[i - 1])]
    cuts = [0]
    for even in np.linspace(0, len(names), count + 1)[1:-1]:
        near = [end for end in ends if abs(end - even) <= 0.15 * room and end > cuts[-1]]
        cuts.append(min(near, key=lambda end: abs(end - even), default=round(even)))
    return [list(names[a:b]) for a, b in pairwise([*cuts, len(names)])]


def _places(names: Sequence[str]) -> np.ndarray:
    """Return where the bars of a row stand."""
    stages = [stage(name) for name in names]
    new = [0.0] + [float(one != two) for one, two in pairwise(stages)]
    return np.arange(len(names)) + _GAP * np.cumsum(new)


def _draw_bar(axis: Axes, x: float, protected: bool, curve: Degradation | None, norm: Normalize) -> None:
    left = x - _WIDTH / 2
    if protected:
        axis.add_patch(Rectangle((left, 0), _WIDTH, 1, **_PROTECTED))
        return
    top = 0.0
    if curve is not None:
        whole = int(curve.kept[0])
        top = 1 - int(curve.kept[-1]) / whole
        middles = (np.arange(_LEVELS) + 0.5) / _LEVELS * top
        axis.imshow(
            curve.at(whole * (1 - middles))[:, None], cmap=DROPS, norm=norm, origin="lower", aspect="auto",
            extent=(left, left + _WIDTH, 0, top), interpolation="nearest", zorder=1,
        )  # fmt: skip
    if top < 1:
        hatch(axis, (left, top), (_WIDTH, 1 - top))


def _heights(graph: ChannelGraph, name: str, steps: Mapping[str, Sequence[int]] | None) -> list[float]:
    """Return at which ratios a group's steps end."""
    width = graph[name].channels
    return [1 - kept / width for kept in (steps or {}).get(name, ()) if kept < width]


def _draw_steps(axis: Axes, place: np.ndarray, heights: Sequence[Sequence[float]]) -> None:
    for x, ends in zip(place, heights, strict=True):
        if ends:
            right = x + _WIDTH / 2
            axis.hlines(ends, right, right + _TICK, color=_STEPS, lw=0.7, zorder=2, clip_on=False)


def _draw_handles(axis: Axes, place: np.ndarray, ratios: Sequence[float], pitch: float) -> None:
    axis.hlines(ratios, place - 0.5, place + 0.5, color="white", lw=2.6 if pitch > 5 else 1.6, zorder=3,
                clip_on=False)  # fmt: skip
    axis.hlines(ratios, place - 0.5, place + 0.5, color="black", lw=1.2 if pitch > 5 else 0.8, zorder=3.1,
                clip_on=False)  # fmt: skip
    size = min(4.5, 0.6 * pitch)
    axis.plot(place, ratios, "o", markersize=size, mfc="white", mec="black", mew=0.22 * size, zorder=3.2,
              clip_on=False)  # fmt: skip
    axis.set(ylim=(0, 1), ylabel="ratio removed")
    axis.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.tick_params(bottom=False, labelbottom=False)
    axis.spines["bottom"].set_visible(False)


def _draw_macs(axis: Axes, place: np.ndarray, before: Sequence[float], after: Sequence[float]) -> None:
    axis.bar(place, before, _WIDTH, color=LIGHT)
    axis.bar(place, after, _WIDTH, color=BLUE)
    axis.set_ylabel("MACs")
    axis.yaxis.set_major_locator(MaxNLocator(2))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.spines["bottom"].set_visible(False)


def _draw_scale(figure: Figure, axes: np.ndarray, norm: Normalize, darkest: float, metric: str, curves: Curves) -> None:
    share = curves.is_share(metric)
    worse, done = (
        worse_word(metric, curves.higher_is_better(metric)),
        "pruned and repaired" if curves.repaired else "pruned",
    )
    label = f"{worse} when this group alone is {done}"
    bar = figure.colorbar(
        ScalarMappable(norm, DROPS), ax=list(axes), location="bottom", aspect=50, pad=0.02, fraction=0.05,
        extend="max",
    )  # fmt: skip
    bar.set_label(f"{label} (points)" if share else label, size=small())
    bar.set_ticks(MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(0, darkest))
    bar.ax.set_xlim(0, darkest)
    if share:
        bar.formatter = FuncFormatter(lambda value, _: f"{100 * value:g}")
    bar.outline.set_visible(False)


def _entries(graph: ChannelGraph, known: dict[str, Degradation], stepped: bool) -> list[Artist]:
    """Return what the legend must explain."""
    entries: list[Artist] = [
        Line2D([], [], color="black", lw=1.2, marker="o", markersize=4.5, mfc="white", mew=1, label="the plan")
    ]
    free = [name for name, group in graph.items() if group.protected is None]
    if any(name not in known or known[name].kept[-1] > 1 for name in free):
        entries.append(hatched("not measured"))
    if len(free) < len(graph):
        entries.append(Patch(label="protected", **_PROTECTED))
    if stepped:
        entries.append(Line2D([], [], linestyle="none", marker="_", markersize=5, color=_STEPS, label="end of a step"))
    return [*entries, swatch("MACs that remain", BLUE), swatch("removed", LIGHT)]

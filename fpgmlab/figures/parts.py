"""Parts that several figures have in common: labels that fit, legends beside the data, hatches where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Transform

from fpgmlab.figures.style import small

# Where a text may stand: from a marker's edge, in points; around it, to the right first.
_REACHES = (1.0, 4.0, 8.0, 13.0, 19.0)
_DIRECTIONS = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 16, endpoint=False)])


def percents() -> FuncFormatter:
    """Return a formatter of shares as percent, with as many decimals as a tick needs: 94%, 94.5%; no two the same."""
    return FuncFormatter(lambda value, _: f"{round(100 * value, 6):g}%")


class Face(TypedDict, total=False):
    """The look of a patch."""

    facecolor: str
    edgecolor: str
    hatch: str
    lw: float


class Marker(TypedDict, total=False):
    """The look of a marker."""

    marker: str
    markersize: float
    mew: float
    mfc: str
    mec: str


HATCHED: Face = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": "////", "lw": 0}
NOT_MEASURABLE = "not measurable"
INTERVAL_UNKNOWN = "interval not known"  # as of few batches


def rows(count: int, room: float = 0.75, least: float = 1.22, most: float = 3.0) -> Callable[[float, float], float]:
    """Return a height for `new_figure`: rows of ``least`` to ``most`` sizes of text, room for the label beside."""

    def height(width: float, text: float) -> float:
        pitch = min(max(1.9 / max(count, 1), least * text), most * text)
        return max(count * pitch, 17.5 * text) + room

    return height


def points_across(artist: Artist) -> float:
    """Return the width of the figure that something is part of, in points."""
    figure = artist.get_figure()
    if not isinstance(figure, Figure):
        raise TypeError(f"it must stand in a figure; got {type(figure).__name__}")
    return 72 * figure.get_figwidth()


def text_width(text: str, size: float | None = None) -> float:
    """Return the width of one line of text in the style in force, in points."""
    font = FontProperties(size=small() if size is None else size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def shortened(name: str, points: float) -> str:
    """Return a name with its beginning left out where it is wider than so many points."""
    if text_width(name) <= points:
        return name
    cut = next((i for i in range(1, len(name)) if text_width("…" + name[i:]) <= points), len(name) - 1)
    return "…" + name[cut:].removeprefix(".")


def all_shortened(names: Sequence[str], points: float) -> list[str]:
    """Return names in so many points that are still different: by what only they have, else by their place."""
    found = {name: shortened(name, points) for name in names}
    counts = Counter(found.values())
    ends: dict[str, list[str]] = {}  # by their last part: all numbers before it are needed, of stage and of block
    for name, short in found.items():
        if counts[short] > 1:
            ends.setdefault(name.rpartition(".")[2], []).append(name)
    for alike in ends.values():
        for name, own in zip(alike, _own_parts([name.split(".") for name in alike]), strict=True):
            found[name] = _with_end(name, f"…{own}…", points)
    again = Counter(found.values())
    return [found[name] if again[found[name]] == 1 else f"{i} {found[name]}" for i, name in enumerate(names, 1)]


def _own_parts(names: Sequence[Sequence[str]]) -> list[str]:
    """Return of each name's parts those between what all of them begin and end with."""
    shortest = min(map(len, names))
    first = next((i for i in range(shortest) if len({each[i] for each in names}) > 1), shortest)
    last = next((i for i in range(shortest - first) if len({each[-1 - i] for each in names}) > 1), shortest - first)
    return [".".join(each[first : len(each) - last]) for each in names]


def _with_end(name: str, beginning: str, points: float) -> str:
    """Return a beginning and as much of a name's end behind it as there is room for."""
    if text_width(beginning) > points:
        return shortened(name, points)
    ends = (name[i:] for i in range(len(name) - 2))  # of less than three letters nobody gets anything
    return next((beginning + end for end in ends if text_width(beginning + end) <= points), beginning)


def name_rows(axis: Axis, names: Sequence[str], share: float = 0.32) -> None:
    """Name the rows of a figure at its left side, in at most a share of its width."""
    points = share * points_across(axis)
    axis.set_ticks(np.arange(len(names)), all_shortened(names, points))
    axis.set_tick_params(length=0)


def name_columns(
    axis: Axis, names: Sequence[str], inches: float, places: np.ndarray | None = None, points: float = 90
) -> None:
    """Name columns along so many inches in slanted letters; every second or third only where all do not fit."""
    names = all_shortened(names, points)
    step = -(-int(np.ceil(len(names) * 1.25 * small())) // max(int(inches * 72), 1))
    shown = np.arange(0, len(names), step)
    axis.set_ticks(
        shown if places is None else places[shown],
        [names[i] for i in shown],
        rotation=60,
        ha="right",
        rotation_mode="anchor",
    )
    axis.set_tick_params(length=2, pad=1)


def legend_above(figure: Figure, handles: Sequence[Artist], handlelength: float | None = None) -> None:
    """Put a legend above the axes, in as many lines as its width asks for."""
    widths = [text_width(str(handle.get_label())) + 3.6 * small() for handle in handles]
    room = figure.get_figwidth() * 72 - 8
    columns = next((c for c in range(len(handles), 1, -1) if _table_width(widths, c) <= room), 1)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, borderaxespad=0.2, borderpad=0.2,
                  handlelength=handlelength)  # fmt: skip


def mark(
    label: str, colour: str, marker: str = "o", *, markersize: float | None = None, mew: float | None = None,
    mfc: str | None = None, mec: str | None = None,
) -> Line2D:  # fmt: skip
    """Return a legend's entry: a marker without line."""
    return Line2D([], [], linestyle="none", marker=marker, color=colour, label=label, markersize=markersize,
                  markeredgewidth=mew, markerfacecolor=mfc, markeredgecolor=mec)  # fmt: skip


def swatch(label: str, colour: str, alpha: float | None = None) -> Patch:
    """Return a legend's entry: a coloured box."""
    return Patch(facecolor=colour, edgecolor="none", label=label, alpha=alpha)


def hatch(axis: Axes, low: tuple[float, float], size: tuple[float, float], transform: Transform | None = None) -> None:
    """Hatch where there is nothing to be seen."""
    axis.add_patch(Rectangle(low, *size, transform=transform or axis.transData, zorder=0.5, **HATCHED))


def hatched(label: str = NOT_MEASURABLE) -> Artist:
    """Return the legend's entry for it."""
    return Patch(label=label, **HATCHED)


def draw_intervals(
    axis: Axes, x: pd.Series, ends: np.ndarray, colour: str, lw: float, *, alpha: float | None = None,
    shift: Transform | None = None,
) -> bool:  # fmt: skip
    """Draw upright intervals, (n, 2); dotted from edge to edge where an end is infinite. Return whether one is.

    ``shift`` moves them across the page, after the scale.
    """
    x = x.to_numpy(float)
    endless = np.isinf(ends).any(axis=1)
    by_scale, by_edge = axis.transData, axis.get_xaxis_transform()
    if shift is not None:
        by_scale, by_edge = by_scale + shift, by_edge + shift
    bars = [axis.vlines(x[~endless], *ends[~endless].T, transform=by_scale)]
    if endless.any():
        bars.append(axis.vlines(x[endless], 0, 1, transform=by_edge, linestyles=":"))
    for each in bars:
        each.set(color=colour, linewidth=lw, alpha=alpha, zorder=2.5)
    return bool(endless.any())


def endless_intervals(colour: str = "0.4") -> Line2D:
    """Return the legend's entry for intervals without an end."""
    return Line2D([], [], color=colour, lw=0.9, ls=":", label=INTERVAL_UNKNOWN)


def text_places(points: np.ndarray, sizes: np.ndarray, bounds: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return where to centre a text beside each point, so that texts cover neither points nor each other if possible.

    Parameters
    ----------
    points : ndarray, (n, 2)
        In points of 1/72 inch.
    sizes : ndarray, (m, 2)
        Width and height of the texts of the first m points; the others have none, and are only kept free.
    bounds : ndarray, (2, 2)
        Lower left and upper right corner of where texts may be.
    radius : ndarray, (n,)
        Of the markers.
    """
    places = np.zeros((len(sizes), 2))
    boxes = np.column_stack(
        [points - radius[:, None], points + radius[:, None]]
    )  # what is taken: left, low, right, high
    crowd = np.linalg.norm(points[:, None] - points, axis=2).clip(0, 30).sum(axis=1)
    for i in np.argsort(crowd[: len(sizes)], kind="stable"):  # the crowded ones choose first
        half = sizes[i] / 2
        tried = points[i] + np.concatenate([_DIRECTIONS * (half + radius[i] + reach) for reach in _REACHES])
        tried = np.clip(tried, bounds[0] + half, bounds[1] - half)
        low, high = tried - half - 0.5, tried + half + 0.5
        over = np.minimum(high[:, None], boxes[:, 2:]) - np.maximum(low[:, None], boxes[:, :2])
        hidden = np.prod(over.clip(0), axis=2).sum(axis=1)
        best = int((hidden + 0.05 * np.linalg.norm(tried - points[i], axis=1)).argmin())
        places[i] = tried[best]
        boxes = np.vstack([boxes, np.concatenate([low[best], high[best]])])
    return places


def along(lines: np.ndarray, apart: float = 3.0) -> np.ndarray:
    """Return points along lines, (lines, 2, 2) -> (n, 2), so that texts keep off them; all in points of 1/72 inch."""
    lines = lines[np.isfinite(lines).all(axis=(1, 2))]
    steps = [max(1, int(np.linalg.norm(end - start) / apart)) for start, end in lines]
    found = [start + (end - start) * np.linspace(0, 1, count + 1)[:, None]
             for (start, end), count in zip(lines, steps, strict=True)]  # fmt: skip
    return np.concatenate([np.zeros((0, 2)), *found])


def _table_width(widths: Sequence[float], columns: int) -> float:
    """Return the width of a legend whose entries fill column after column, the first ones with one more."""
    return sum(float(part.max()) + 10 for part in np.array_split(np.asarray(widths), columns))


def is_protected(reasons: pd.Series) -> np.ndarray:
    """Return which rows have a reason to be protected; without, it is empty, None or NaN."""
    return (reasons.notna() & (reasons != "")).to_numpy(bool)

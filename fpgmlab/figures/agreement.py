"""Where criteria agree: layers by pairs."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from fpgmlab.errors import one_of
from fpgmlab.figures.parts import all_shortened, points_across, rows
from fpgmlab.figures.style import Style, new_figure, small

VALUES = {
    "overlap": "share that both remove",
    "spearman": "Spearman's rank correlation",
    "kendall": "Kendall's rank correlation (tau-b)",
}
_ANNOTATED = 200  # cells up to which each shows its number
_CELLS = 0.5  # of the figure's width that cells have, at least
_GAP = 0.35  # between the cells and their means, in cells


def rank_agreement(frame: pd.DataFrame, value: str = "overlap", *, style: Style | None = None) -> Figure:
    """Show how far pairs of criteria agree in each layer, and the means over layers and over pairs.

    Cells without a value (nothing removed, or all scores equal) are hatched and do not count in the means. Where names
    of pairs have no room above their columns, two dots in each column stand in the rows of its criteria.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.compare_criteria`.
    value : {"overlap", "spearman", "kendall"}
        The column to show.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For another value, and a frame without rows or the columns of `fpgmlab.compare_criteria`.
    """
    if value not in VALUES:
        raise ValueError(one_of("value", value, VALUES))
    missing = [name for name in ("layer", "first", "second", value) if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, as from compare_criteria; missing columns: {missing or 'none'}")
    layers = list(dict.fromkeys(frame["layer"]))
    pairs = list(dict.fromkeys(zip(frame["first"], frame["second"], strict=True)))
    cells = frame.set_index(["layer", "first", "second"])[value].to_numpy(float)
    table = np.full((len(layers), len(pairs)), np.nan)
    at_layer, at_pair = {n: i for i, n in enumerate(layers)}, {p: i for i, p in enumerate(pairs)}
    for layer, first, second, cell in zip(frame["layer"], frame["first"], frame["second"], cells, strict=True):
        table[at_layer[layer], at_pair[first, second]] = cell
    names = [_pair_name(*pair) for pair in pairs]
    criteria = list(dict.fromkeys(name for pair in pairs for name in pair))
    lines = max(max(len(line) for line in name.split("\n")) for name in names)
    deep = max(name.count("\n") + 1 for name in names)

    def crowded(width: float, text: float) -> bool:
        return _CELLS * width / (len(pairs) + 1) < 1.1 * deep * text

    def height(width: float, text: float) -> float:
        if crowded(width, text):
            return rows(len(layers) + 1, room=0.2)(width, text) + 1.4 * text * len(criteria)
        return rows(len(layers) + 1, room=0.2)(width, text) + 0.6 * text * lines

    with new_figure(5.4, height, style) as figure:
        dotted = crowded(figure.get_figwidth(), small() / 72)
        pitch = (figure.get_figheight() - 1.4 * small() / 72 * len(criteria)) / (len(layers) + 1)
        parts = [1.4 * small() / 72 * len(criteria), pitch * (len(layers) + 1)] if dotted else [1.0]
        axes = figure.subplots(len(parts), sharex=True, height_ratios=parts, squeeze=False)[:, 0]
        axis = axes[-1]
        low = min(0.0, np.floor(10 * np.nanmin(table, initial=0.0)) / 10)
        with_means = np.full((len(layers) + 1, len(pairs) + 1), np.nan)
        with_means[:-1, :-1] = table
        with_means[:-1, -1], with_means[-1, :-1] = _means(table, 1), _means(table, 0)
        with_means[-1, -1] = _means(table.ravel(), 0)
        image = _draw_cells(axis, with_means, low)
        room = 0.3 * figure.get_figwidth() * 72
        axis.set_yticks(_centres(len(layers) + 1), [*all_shortened(layers, room), "mean"])
        if dotted:
            axis.set_xticks([])
            _draw_pairs(axes[0], pairs, criteria, room)
        else:
            axis.set_xticks(_centres(len(pairs) + 1), [*names, "mean"], rotation=90, linespacing=1.0)
        axis.tick_params(length=0, labeltop=not dotted, labelbottom=False)
        axis.spines[:].set_visible(False)
        axis.set(xlabel="pair of criteria, and their mean" if dotted else "pair of criteria")
        axis.set(ylabel="layer, in network order")
        bar = figure.colorbar(image, ax=list(axes), label=VALUES[value], aspect=30, pad=0.02, fraction=0.06)
        bar.outline.set_visible(False)
        width = _CELLS * figure.get_figwidth() * 72 / (len(pairs) + 1)
        if with_means.size <= _ANNOTATED and width >= 2.6 * small():
            _annotate(axis, with_means, image)
    return figure


def _draw_pairs(axis: Axes, pairs: list[tuple[str, str]], criteria: list[str], room: float) -> None:
    """Draw two dots above each column, in the rows of its criteria, and the line between them."""
    xs = _centres(len(pairs) + 1)
    at = {name: i for i, name in enumerate(criteria)}
    ends = np.array([(at[first], at[second]) for first, second in pairs])
    size = min(4.5, 0.55 * _CELLS * points_across(axis) / len(xs))  # points: dots of neighbours do not touch
    for row in range(0, len(criteria), 2):
        axis.axhspan(row - 0.5, row + 0.5, color="0.94", lw=0)
    axis.vlines(xs[:-1], ends.min(axis=1), ends.max(axis=1), color="0.2", lw=0.2 * size)
    axis.plot(np.repeat(xs[:-1], 2), ends.ravel(), "o", color="0.2", mew=0, ms=size)
    names = all_shortened([_criterion_name(name) for name in criteria], room)
    axis.set_yticks(range(len(criteria)), names)
    axis.set(ylim=(len(criteria) - 0.5, -0.5), ylabel="pair")
    axis.tick_params(length=0, labelbottom=False)
    axis.spines[:].set_visible(False)


def _criterion_name(name: str) -> str:
    return name.replace("as_implemented_by=", "").replace("center=", "").replace("distance=", "")


def _pair_name(first: str, second: str) -> str:
    lines = []
    for name in (first, second):
        lines += textwrap.wrap(_criterion_name(name), 22, break_on_hyphens=False)
    return "\n".join(lines)


def _means(table: np.ndarray, over: int) -> np.ndarray:
    """Return means that leave out NaN, NaN where there is nothing else."""
    counts = np.isfinite(table).sum(axis=over)
    sums = np.nansum(table, axis=over)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _centres(count: int) -> np.ndarray:
    """Return where cells lie; the last, a mean, is set apart."""
    places = np.arange(count, dtype=float)
    places[-1] += _GAP
    return places


def _draw_cells(axis: Axes, table: np.ndarray, low: float) -> AxesImage:
    height, width = table.shape
    ys, xs = _centres(height), _centres(width)
    cmap, norm = ("viridis", Normalize(0, 1)) if low == 0 else ("RdBu", Normalize(-1, 1))
    for rows_, y in ((slice(0, -1), (ys[0] - 0.5, ys[-2] + 0.5)), (slice(-1, None), (ys[-1] - 0.5, ys[-1] + 0.5))):
        for columns, x in (
            (slice(0, -1), (xs[0] - 0.5, xs[-2] + 0.5)),
            (slice(-1, None), (xs[-1] - 0.5, xs[-1] + 0.5)),
        ):
            block = np.ma.masked_invalid(table[rows_, columns])
            extent = (*x, y[1], y[0])
            image = axis.imshow(block, cmap, norm, extent=extent, interpolation="nearest", aspect="auto")
    for i, j in zip(*np.nonzero(~np.isfinite(table)), strict=True):
        axis.add_patch(
            Rectangle((xs[j] - 0.5, ys[i] - 0.5), 1, 1, facecolor="0.93", edgecolor="0.6", hatch="////", lw=0)
        )
    axis.set(xlim=(-0.5, xs[-1] + 0.5), ylim=(ys[-1] + 0.5, -0.5))
    return image


def _annotate(axis: Axes, table: np.ndarray, image: AxesImage) -> None:
    for i, y in enumerate(_centres(table.shape[0])):
        for j, x in enumerate(_centres(table.shape[1])):
            if np.isfinite(table[i, j]):
                red, green, blue, _ = image.cmap(image.norm(table[i, j]))
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
                axis.text(x, y, f"{table[i, j]:.2f}", ha="center", va="center_baseline", fontsize=small(),
                          color="white" if dark else "0.1")  # fmt: skip

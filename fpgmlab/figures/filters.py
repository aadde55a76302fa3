"""Filters as tiles, in the order in which they would be removed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fpgmlab.figures.parts import text_width
from fpgmlab.figures.style import RED, Style, new_figure, small

_GAP = 0.16  # between tiles, as a share of their pitch
_EDGE = 0.06  # around everything, in inches
_TEXT = 1.1  # lines, in sizes of text
_BETWEEN = 0.11  # rows, in inches


def filter_tiles(
    filters: Tensor,
    scores: Tensor,
    removed: Collection[int] = (),
    columns: int | None = None,
    *,
    style: Style | None = None,
) -> Figure:
    """Show filters as tiles, the lowest score first; those that a plan removes have a red frame.

    Parameters
    ----------
    filters : Tensor, (filters, channels, height, width)
        A filter of three channels is shown in colour, any other as its mean over the channels, blue below 0 and red
        above.
    scores : Tensor, (filters,)
        Written below each tile; its number stands above.
    removed : collection of int
        Numbers of the removed filters.
    columns : int, optional
        Tiles in a row; 8, or 16 from 65 filters on, when left out.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For filters that are not (n, channels, height, width) of at least one, and scores that are not (n,).
    """
    if filters.ndim != 4 or len(filters) == 0 or scores.shape != filters.shape[:1]:
        raise ValueError(
            "filters must be (n, channels, height, width) with n >= 1 and scores (n,); "
            f"got {tuple(filters.shape)}, {tuple(scores.shape)}"
        )
    weights = filters.detach().cpu().float()
    order = torch.argsort(scores, stable=True).tolist()
    columns = columns or (8 if len(order) <= 64 else 16)
    lines = -(-len(order) // columns)
    colour = weights.shape[1] == 3
    faces = (weights.permute(0, 2, 3, 1) if colour else weights.mean(dim=1)).numpy()
    limit = float(np.abs(faces).max()) or 1.0

    def pitches(width: float, text: float) -> tuple[float, float]:
        across = (width - 2 * _EDGE) / columns
        return across, across * (1 - _GAP) * faces.shape[1] / faces.shape[2] + 2 * _TEXT * text + _BETWEEN

    def height(width: float, text: float) -> float:
        return lines * pitches(width, text)[1] + 3.6 * text + 2 * _EDGE

    with new_figure(0.75 * columns if columns <= 10 else 9.0, height, style) as figure:
        width, text = figure.get_figwidth(), small() / 72
        axis = _canvas(figure)
        across, down = pitches(width, text)
        side = across * (1 - _GAP)
        thick = min(1.8, 0.42 * 72 * across * _GAP)
        kind = None if colour else "RdBu_r", None if colour else Normalize(-limit, limit)
        for place, index in enumerate(order):
            left = _EDGE + across * (place % columns) + (across - side) / 2
            top = figure.get_figheight() - _EDGE - down * (place // columns) - _TEXT * text
            bottom = top - (down - 2 * _TEXT * text - _BETWEEN)
            face = 0.5 + faces[index] / (2 * limit) if colour else faces[index]
            extent = (left, left + side, bottom, top)
            axis.imshow(face, *kind, extent=extent, interpolation="nearest", aspect="auto")
            gone = index in removed
            shade = RED if gone else "0.35"
            axis.add_patch(
                Rectangle((left, bottom), side, top - bottom, fill=False, edgecolor=RED if gone else "0.75",
                          lw=thick if gone else 0.5, gid="removed" if gone else "kept")
            )  # fmt: skip
            middle = left + side / 2
            axis.text(middle, top + 0.02, f"{index}", ha="center", va="bottom", fontsize=small(), color=shade)
            axis.text(middle, bottom - 0.02, _brief(float(scores[index]), 72 * across), ha="center", va="top",
                      fontsize=small(), color="0.35")  # fmt: skip
        axis.set(xlim=(0, width), ylim=(0, figure.get_figheight()))
        _key(figure, axis, None if colour else limit, weights.shape[1], any(index in removed for index in order))
    return figure


def _canvas(figure: Figure) -> Axes:
    """Return axes over the whole figure, in inches."""
    figure.set_layout_engine("none")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    return axis


def _brief(value: float, points: float) -> str:
    """Return a number with as many digits, up to three, as so many points have room for."""
    texts = [f"{value:#.3g}".rstrip("."), f"{value:#.2g}".rstrip("."), f"{value:.1g}"]
    if 100 <= abs(value) < 1e5:
        texts = [f"{value:.0f}", *texts]
    return next((text for text in texts if text_width(text) <= 0.95 * points), texts[-1])


def _key(figure: Figure, axis: Axes, limit: float | None, channels: int, removed: bool) -> None:
    """Explain frames and colours in the lowest line."""
    text, width = small() / 72, figure.get_figwidth()
    left, low = _EDGE + 0.04, _EDGE + 1.6 * text
    if removed:
        axis.add_patch(Rectangle((left, low), 0.9 * text, 0.9 * text, fill=False, edgecolor=RED, lw=1.5))
        axis.text(left + 1.4 * text, low + 0.45 * text, "removed", va="center_baseline", color=RED, fontsize=small())
    if limit is None:
        words = "colour: the three channels; grey is 0"
        axis.text(
            width - left, low + 0.45 * text, words, ha="right", va="center_baseline", color="0.35", fontsize=small()
        )
        return
    words = "weight" if channels == 1 else f"weight, mean over {channels} channels"
    number = f"{limit:.2g}"
    side = 0.3 * width
    right = width - left - text_width(number) / 144
    bar = axis.inset_axes((right - side, low, side, 0.8 * text), transform=axis.transData)
    scale = figure.colorbar(ScalarMappable(Normalize(-limit, limit), "RdBu_r"), cax=bar, orientation="horizontal")
    scale.outline.set_linewidth(0.4)
    scale.set_ticks([-limit, 0, limit], labels=[f"\N{MINUS SIGN}{number}", "0", number])
    bar.tick_params(length=1.5, pad=1, labelsize=small())
    axis.text(right - side - text, low + 0.4 * text, words, ha="right", va="center_baseline", color="0.35",
              fontsize=small())  # fmt: skip

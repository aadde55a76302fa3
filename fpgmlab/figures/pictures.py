"""Pictures of a data set, with what a model says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from torch import Tensor

from fpgmlab.figures.parts import text_width
from fpgmlab.figures.style import RED, Style, new_figure, rc_params, settings, small


def pictures(
    images: Tensor,
    labels: Sequence[str],
    guesses: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    style: Style | None = None,
) -> Figure:
    """Show images with their labels; a wrong guess is named in red.

    Parameters
    ----------
    images : Tensor, (n, channels, height, width)
        Each is stretched to its own range of values.
    labels, guesses : sequence of str, (n,)
    columns : int, optional
        Images in a row; 8, or as many as the labels leave room for, when left out.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For images that are not (n, channels, height, width) of at least one, or not as many labels and guesses.
    """
    guesses = labels if guesses is None else guesses
    if images.ndim != 4 or len(images) == 0 or not len(images) == len(labels) == len(guesses):
        raise ValueError(
            "images must be (n, channels, height, width) with n >= 1, with a label and a guess for each; "
            f"got {tuple(images.shape)}, {len(labels)} labels and {len(guesses)} guesses"
        )
    texts = [g if g == w else f"{g}\nnot {w}" for g, w in zip(guesses, labels, strict=True)]
    with settings(rc_params(style)):
        widest = max(text_width(line) for text in texts for line in text.split("\n")) + 5
        width = mpl.rcParams["figure.figsize"][0] if "figure.figsize" in rc_params(style) else None
    if columns is None:
        fits = 8 if width is None else int(width * 72 / widest)
        most = max(1, min(8, fits))
        columns = math.ceil(len(images) / math.ceil(len(images) / most))  # rows of about the same length
    lines = math.ceil(len(images) / columns)
    shape = images.shape[2] / images.shape[3]

    def height(width: float, text: float) -> float:
        return lines * (0.94 * shape * width / columns + 2.6 * text) + 0.05

    with new_figure(max(0.9, widest / 72) * columns, height, style) as figure:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.01, wspace=0, hspace=0)
        for axis in axes:
            axis.set_axis_off()
        for axis, image, text in zip(axes, images, texts, strict=False):
            picture = image.detach().cpu().float().permute(1, 2, 0)
            picture = (picture - picture.min()) / (picture.max() - picture.min()).clamp_min(1e-6)
            axis.imshow(picture.numpy(), cmap="gray_r" if picture.shape[2] == 1 else None)
            axis.set_title(text, loc="center", fontsize=small(), color=RED if "\n" in text else "0.3", pad=2)
    return figure

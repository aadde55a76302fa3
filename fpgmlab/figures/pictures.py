"""Pictures of a data set, with what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from fpgmlab.figures.style import RED, new_figure


def pictures(images: Tensor, labels: Sequence[str], guesses: Sequence[str] | None = None, columns: int = 8) -> Figure:
    """Show images with their labels; a wrong guess is named in red.

    Parameters
    ----------
    images : Tensor, (n, channels, height, width)
        Each is stretched to its own range of values.
    labels, guesses : sequence of str, (n,)
    columns : int
        Images in a row.
    """
    rows = -(-len(images) // columns)
    with new_figure(0.9 * columns, 1.12 * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for i, (axis, image) in enumerate(zip(axes, images, strict=False)):
            picture = image.detach().cpu().permute(1, 2, 0)
            picture = (picture - picture.min()) / (picture.max() - picture.min()).clamp_min(1e-6)
            axis.imshow(picture.numpy(), cmap="gray_r" if picture.shape[2] == 1 else None)
            wrong = guesses is not None and guesses[i] != labels[i]
            text = f"{guesses[i]}\nnot {labels[i]}" if wrong else labels[i]
            axis.set_title(text, loc="center", fontsize=7, color=RED if wrong else "0.3", pad=2)
    return figure

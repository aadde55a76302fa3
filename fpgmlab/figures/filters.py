"""Filters and their scores, in the order in which they would be removed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fpgmlab.figures.style import BLUE, LIGHT, RED, new_figure


def filter_tiles(filters: Tensor, scores: Tensor, removed: Collection[int] = (), columns: int = 8) -> Figure:
    """Show filters as tiles, the lowest score first; those that a plan removes have a red frame.

    Parameters
    ----------
    filters : Tensor, (filters, channels, height, width)
        A filter of three channels is shown in colour, any other as its mean over the channels, blue below 0 and red
        above.
    scores : Tensor, (filters,)
    removed : collection of int
        Numbers of the removed filters.
    columns : int
        Tiles in a row.
    """
    if filters.ndim != 4 or scores.shape != filters.shape[:1]:
        raise ValueError(
            "filters must be (n, channels, height, width) and scores (n,); "
            f"got {tuple(filters.shape)}, {tuple(scores.shape)}"
        )
    weights = filters.detach().cpu().float()
    order = torch.argsort(scores, stable=True).tolist()
    rows = -(-len(order) // columns)
    colour = weights.shape[1] == 3
    pictures = weights.permute(0, 2, 3, 1) if colour else weights.mean(dim=1)
    limit = float(pictures.abs().max()) or 1.0
    with new_figure(0.82 * columns, 1.0 * rows + 0.15) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes[len(order) :]:
            axis.set_axis_off()
        for axis, index in zip(axes, order, strict=False):
            picture = pictures[index].numpy()
            if colour:
                axis.imshow(0.5 + picture / (2 * limit))
            else:
                axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
            gone = index in removed
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{index}", loc="center", color=RED if gone else "0.3", fontsize=8, pad=2)
            for spine in axis.spines.values():
                spine.set(visible=True, color=RED if gone else LIGHT, linewidth=2.2 if gone else 0.6)
            axis.set_xlabel(f"{float(scores[index]):.2f}", fontsize=7, labelpad=2)
    return figure


def score_bars(scores: Tensor, removed: Collection[int] = (), label: str = "score") -> Figure:
    """Show the scores of one group in ascending order, the removed channels in red.

    Parameters
    ----------
    scores : Tensor, (channels,)
    removed : collection of int
        Numbers of the removed channels.
    label : str
        What the score is, with its unit if it has one.
    """
    values = scores.detach().cpu().numpy()
    order = np.argsort(values, kind="stable")
    gone = np.isin(order, list(removed))
    with new_figure(max(3.6, min(7.0, 0.16 * len(order) + 1.2)), 2.2) as figure:
        axis = figure.subplots()
        axis.bar(np.arange(len(order)), values[order], color=np.where(gone, RED, BLUE), width=0.8)
        if len(order) <= 40:
            axis.set_xticks(np.arange(len(order)), order, fontsize=7)
        axis.set(xlabel="channel, in order of removal", ylabel=label)
        axis.margins(x=0.01)
        if gone.any():
            handles = [axis.patches[int(np.flatnonzero(gone)[0])], axis.patches[int(np.flatnonzero(~gone)[0])]]
            axis.legend(handles, [f"removed ({gone.sum()})", f"kept ({(~gone).sum()})"], loc="upper left")
    return figure

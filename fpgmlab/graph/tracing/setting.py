"""Labels where code writes into parts of a tensor: ``x[:, :, 1:] = y``, ``x[:, 1:] += y``."""

from __future__ import annotations

import torch
from torch import Tensor

from fpgmlab.graph.tracing.labels import Recorder, align, compact, give_up, varying


def set_item(to: Recorder, args: tuple) -> None:
    """Tie the channels of what is written to those that it is written over.

    Parameters
    ----------
    to : Recorder
    args : tuple
        The tensor, where in it, and what is written there.
    """
    target, index, value = args
    label = to.get(target)
    written = to.get(value) if isinstance(value, Tensor) else None
    tensors = [each for each in (target, value) if isinstance(each, Tensor)]
    picked = None if label is None else _picked(label, target, index)
    if picked is None:
        return give_up(to, tensors, "'setitem' writes to some of its channels by position, or over others")
    spread = varying(picked)
    if written is not None and varying(align(written, picked.ndim)) == spread:
        return to.tie(*torch.broadcast_tensors(picked, align(written, picked.ndim)))
    if isinstance(value, Tensor) and (written is not None or _is_wide(value, picked)):
        give_up(to, tensors, "'setitem' combines it with a tensor of fixed width")
    return None


def _picked(label: Tensor, target: Tensor, index: object) -> Tensor | None:
    """Return the labels of a part of a tensor that has all of its channels; None where it has not."""
    items = index if isinstance(index, tuple) else (index,)
    if not all(item is None or item is Ellipsis or isinstance(item, (int, slice)) for item in items):
        return None
    picked = compact(label.expand(target.shape)[items])
    return picked if torch.equal(picked.reshape(-1), label.reshape(-1)) else None


def _is_wide(value: Tensor, picked: Tensor) -> bool:
    sizes = align(value, picked.ndim).shape
    return any(sizes[dim] > 1 for dim in varying(picked))

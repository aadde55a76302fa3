"""Labels over shuffles that torch has as operations of their own: of pixels into channels and back, of groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fpgmlab.graph.tracing.labels import Recorder, Rule
from fpgmlab.graph.tracing.rows import rearrange


def _pixel_shuffle(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    """Channels of one pixel become those of several: as many as these go together."""
    x, factor = args[0], kwargs.get("upscale_factor", args[-1])
    label = _in_rows(to, name, x, (-1, factor, factor))
    to.put(out, None if label is None else label.flatten(-5, -3))


def _pixel_unshuffle(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    factor, label = kwargs.get("downscale_factor", args[-1]), to.get(args[0])
    if label is None or any(size > 1 for dim, size in enumerate(label.shape) if dim != label.ndim - 3):
        to.freeze(label, f"{name!r} mixes its channels with positions")
        return to.put(out, None)
    to.put(out, label.repeat_interleave(factor**2, -3) if label.size(-3) > 1 else label)


def _channel_shuffle(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    x, groups = args[0], kwargs.get("groups", args[-1])
    label, rest = _in_rows(to, name, x, (groups, -1)), x.shape[2:]
    if label is not None:
        turned = (len(x), x.shape[1] // groups, groups, *rest)
        label = rearrange(to, name, label.transpose(1, 2), turned, x.shape, [-1] * x.ndim)
    to.put(out, label)


def _in_rows(to: Recorder, name: str, x: Tensor, rows: tuple[int, ...]) -> Tensor | None:
    """Return the labels of a tensor whose channels were put in rows, which are its dimensions from where they were."""
    label, dim = to.get(x), 1 if name == "channel_shuffle" else x.ndim - 3
    if label is None:
        return None
    size = x.shape[dim]
    fixed = [row for row in rows if row != -1]
    count = size
    for row in fixed:
        count //= row
    shape = [count if row == -1 else row for row in rows]
    before, after = x.shape[:dim], x.shape[dim + 1 :]
    sizes = [*([-1] * len(before)), *rows, *([-1] * len(after))]
    return rearrange(to, name, label, x.shape, (*before, *shape, *after), sizes)


SHUFFLES: dict[str, Rule] = {
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
    "native_channel_shuffle": _channel_shuffle,
}

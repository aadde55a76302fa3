"""How many channels a group keeps at a ratio, and which of them go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fpgmlab.common.numbers import whole_number
from fpgmlab.common.processor import channel_block
from fpgmlab.errors import unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.graph.given import check_graph
from fpgmlab.graph.naming import groups_named

Scores = Mapping[str, Tensor]
Multiple = int | Literal["runtime"]
LEAST_FIT = 8  # channels: in smaller groups no count is wasted that matters


def check_names(graph: ChannelGraph, protect: str | Sequence[str]) -> tuple[str, ...]:
    """Return the groups to protect, named by themselves, by a layer or by a module, as for `fpgmlab.trace`.

    Raises
    ------
    ValueError
        For another name.
    """
    check_graph(graph)
    try:
        return groups_named(graph, protect)
    except ValueError as error:
        raise ValueError(f"protect: {error}") from None


def prunable(graph: ChannelGraph, protect: str | Sequence[str] = ()) -> list[str]:
    """Return the names of the groups that are not protected, without those named in ``protect``."""
    protect = check_names(graph, protect)
    return [name for name, group in graph.items() if group.protected is None and name not in protect]


def unit_of(group: ChannelGroup, multiple: Multiple = 1) -> int:
    """Return the step of the numbers of channels that a group may keep.

    A ``multiple`` counts channels of layers. Where a channel of the group stands for several, as a head does, it is the
    least number of heads that fits: any of heads of 32 channels for 8, every second one of heads of 12 channels.
    ``"runtime"`` is what runtimes do not waste on this processor: whole blocks (see
    `fpgmlab.common.processor.channel_block`), in groups of at most one block quarters of it, which keep them in the
    blocked layout, and any number in those of a few channels. Where no number of heads makes a block, a half of it will
    do, or a quarter; a number that is given holds, and the group stays whole where nothing fits.
    """
    if multiple == "runtime":
        block = channel_block()
        channels = group.channels * group.unit
        quarter = block // 4 if channels >= LEAST_FIT else 1
        multiple = block if channels > block else quarter
        while group.unit > 1 < multiple and _heads(group, multiple) >= group.channels:
            multiple //= 2
    return _heads(group, multiple)


def _heads(group: ChannelGroup, multiple: int) -> int:
    return math.lcm(group.step, multiple // math.gcd(multiple, group.unit))


def allowed_kept(group: ChannelGroup, multiple: Multiple = 1) -> range | list[int]:
    """Return the numbers of channels that a group may keep, ascending; the last is all of them."""
    unit = unit_of(group, multiple)
    counts = list(range(-(-group.least // unit) * unit, group.channels + 1, unit))
    return counts if counts and counts[-1] == group.channels else [*counts, group.channels]


def kept_channels(group: ChannelGroup, ratio: float, multiple: Multiple = 1, max_ratio: float = 1.0) -> int:
    """Return how many channels stay at a ratio: the nearest allowed number, half upwards."""
    if group.protected is not None or ratio == 0:
        return group.channels
    counts = np.array(allowed_kept(group, multiple))
    # A hair more than exact arithmetic, so that 0.3 of 10 channels is 3 of them.
    at_least = math.ceil((1 - max_ratio) * group.channels - 1e-9)
    counts = counts[counts >= at_least]
    distance = np.abs(counts - (1 - ratio) * group.channels)
    return int(counts[np.flatnonzero(distance <= distance.min() + 1e-9)[-1]])


def lowest(group: ChannelGroup, scores: Scores, count: int) -> tuple[int, ...]:
    """Return the ``count`` channels of a group with the lowest scores, ascending; in blocks, as many from each.

    Ties go to the lower channel number. The last channel of a part stays whatever its score (see `ChannelGroup`): the
    next lowest goes in its place, and at most so many that the group keeps its ``least``.
    """
    values = checked_scores(group, scores)
    blocks = np.asarray(group.blocks if group.blocks is not None else np.zeros(group.channels, int))
    each = count // group.step
    left = [set(part) for part in group.parts]
    chosen: list[int] = []
    for block in np.unique(blocks):
        members = np.flatnonzero(blocks == block)
        ranked = members[np.argsort(values[members], kind="stable")].tolist()
        chosen += _without_the_last(ranked, each, left) if left else ranked[:each]
    return tuple(sorted(chosen))


def _without_the_last(ranked: Sequence[int], count: int, left: Sequence[set[int]]) -> list[int]:
    """Return the first ``count`` channels that are not the last of what is ``left`` of a part; they leave it."""
    gone: list[int] = []
    for channel in ranked:
        mine = [part for part in left if channel in part]
        if len(gone) < count and all(len(part) > 1 for part in mine):
            gone.append(channel)
            for part in mine:
                part.discard(channel)
    return gone


def check_rounding(multiple: Multiple, max_ratio: float) -> None:
    """Raise a `ValueError` for a ``multiple`` below 1 or a ``max_ratio`` that is no fraction."""
    if isinstance(multiple, str):
        if multiple != "runtime":
            raise ValueError(f"multiple must be a whole number of at least 1, or 'runtime'; got {multiple!r}")
    else:
        whole_number("multiple", multiple)
    if not 0 <= max_ratio <= 1:
        raise ValueError(f"max_ratio must lie between 0 and 1; got {max_ratio}")


def checked_scores(group: ChannelGroup, scores: Scores) -> np.ndarray:
    """Return a group's scores, (channels,) float64.

    Raises
    ------
    ValueError
        When they are missing, of wrong length or NaN.
    """
    if not isinstance(scores, Mapping):
        call = f"fl.score(graph, {scores!r})" if isinstance(scores, str) else "fl.score(graph)"
        raise TypeError(f"scores must be numbers by group, as {call} gives; got {scores!r:.60}")
    if group.name not in scores:
        raise ValueError(f"no scores for group {group.name!r}; {unknown('group', group.name, scores)}")
    score = scores[group.name]
    if tuple(score.shape) != (group.channels,):
        raise ValueError(f"scores of group {group.name!r} must be ({group.channels},); got {tuple(score.shape)}")
    if bool(torch.isnan(score).any()):
        raise ValueError(f"scores of group {group.name!r} have {int(torch.isnan(score).sum())} NaN")
    return score.detach().to("cpu", torch.float64).numpy()

"""What one channel of a group stands for: one filter, or several that only go together, such as an attention head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Unit = tuple[int, str]  # how many channels of a layer go together, and what they are called, or nothing
_ONE = (1, "")


def units_of(
    groups: int, group_index: np.ndarray, noted: Iterable[tuple[np.ndarray, int, str]], sides: Sequence[np.ndarray]
) -> list[Unit]:
    """Return the unit of each group.

    Tracing notes how long a head is where a reshape makes heads. A fused ``qkv`` names a head three times as often, and
    queries may share their keys: so the shortest note counts, one with a name before those without. Where nothing was
    noted, it is how often the layers name a channel, the least of them: a linear layer behind a flattening reads
    several positions of one channel.

    Parameters
    ----------
    groups : int
    group_index : ndarray of int, (channels,)
        The group of each channel.
    noted : iterable of (ndarray of int, int, str)
        Channels that stand for so many each, and what these are called.
    sides : sequence of ndarray of int
        The channels that convolutions and linear layers make and read; -1 for those of no group.
    """
    named: list[list[Unit]] = [[] for _ in range(groups)]
    for channels, count, name in noted:
        for group in np.unique(group_index[channels[channels >= 0]]).tolist():
            named[group].append((count, name))
    least = np.full(len(group_index), np.iinfo(np.int64).max)
    for side in sides:
        channels, counts = np.unique(side[side >= 0], return_counts=True)
        least[channels] = np.minimum(least[channels], counts)
    starts = np.searchsorted(group_index, np.arange(groups))  # groups lie one after the other
    found = []
    for notes, seen in zip(named, np.minimum.reduceat(least, starts).tolist(), strict=True):
        best = min(notes, key=lambda note: (not note[1], note[0]), default=_ONE)
        found.append(best if best[0] > 1 else (seen, "") if seen < np.iinfo(np.int64).max else _ONE)
    return found

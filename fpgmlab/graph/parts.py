"""Layers that make or read only some of a group's channels: one of them must stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fpgmlab.graph.layer import Layer

Side = tuple[str, str, np.ndarray]  # a layer, "make" or "read", its channels


def incomplete_sides(layers: Sequence[Layer], groups: Sequence[slice]) -> Iterator[Side]:
    """Yield (layer, "make" or "read", its channels) wherever a plan could leave none: no whole group is among them."""
    group_of = np.repeat(np.arange(len(groups)), [where.stop - where.start for where in groups])
    seen: set[bytes] = set()
    for layer in layers:
        for does, side in (("read", layer.inputs), ("make", layer.outputs)):
            if side is None or not len(side) or (side < 0).any():
                continue
            first, last = group_of[side[0]], group_of[side[-1]]
            if first == last and len(side) == groups[first].stop - groups[first].start and (np.diff(side) == 1).all():
                continue  # a whole group in order, as most are
            channels = np.unique(side)
            owners, counts = np.unique(group_of[channels], return_counts=True)
            whole = any(count == groups[g].stop - groups[g].start for g, count in zip(owners, counts, strict=True))
            if not whole and channels.tobytes() not in seen:
                seen.add(channels.tobytes())
                yield layer.name, does, channels


def parts_of(sides: Iterable[Side], groups: Sequence[slice]) -> list[tuple[tuple[int, ...], ...]]:
    """Return each group's parts, as in `ChannelGroup`, with channels counted within the group.

    Where a layer's channels are of several groups, the one that has most of them answers for it.
    """
    found: list[set[frozenset[int]]] = [set() for _ in groups]
    group_of = np.repeat(np.arange(len(groups)), [where.stop - where.start for where in groups])
    for _, _, channels in sides:
        group = int(np.bincount(group_of[channels]).argmax())
        mine = channels[group_of[channels] == group] - groups[group].start
        found[group].add(frozenset(mine.tolist()))
    least = ([part for part in parts if not any(other < part for other in parts)] for parts in found)
    return [tuple(sorted(tuple(sorted(part)) for part in parts)) for parts in least]

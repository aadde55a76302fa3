"""From labels to groups: which labels are one channel, which channels are one group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fpgmlab.graph.layer import MAKERS, PRODUCERS, READERS, Layer
from fpgmlab.graph.running import Place
from fpgmlab.graph.tracing.layers import TracedLayer
from fpgmlab.graph.tracing.reasons import Reason
from fpgmlab.graph.tracing.trace import Trace
from fpgmlab.graph.units import Unit, units_of


@dataclass(frozen=True, eq=False)
class Reduction:
    """An operation that runs over channels: in a pruned network over those that stay. Numbered as in `Layer`."""

    place: Place
    dim: int  # of its first argument
    channels: np.ndarray  # (channels along the dim,)


@dataclass(frozen=True)
class RawGroup:
    """A group as found, before it is known whether it may be pruned."""

    channels: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    channelwise: tuple[str, ...]
    blocks: tuple[int, ...] | None
    unit: Unit  # what one channel stands for
    frozen: tuple[Reason, ...]  # all reasons why it must stay, in the order in which tracing met them


def group_channels(trace: Trace) -> tuple[list[RawGroup], list[Layer], list[Reduction]]:
    """Return the groups in order of execution, every layer and reduction with channels numbered over all groups."""
    layers = list(trace.layers.values())
    # Labels that were tied are one channel.
    channel_of = _components(trace.labels, ((p[:, 0], p[:, 1]) for p in trace.pairs))
    channel_of[0] = -1
    # Channels that one layer makes, or that must stay equally many, are one group.
    makers = [channel_of[layer.outputs] for layer in layers if _makes(layer)]
    channel_of[~np.isin(channel_of, np.concatenate([[-1], *makers]))] = -1  # made by no layer
    parts = [_distinct([channel_of[part] for part in equal]) for equal in trace.parts]
    parts = [equal for equal in parts if len(equal) > 1]
    links = [vector[vector >= 0] for vector in (*makers, *(np.concatenate(equal) for equal in parts))]
    group_of = _components(trace.labels, ((v[:-1], v[1:]) for v in links if len(v) > 1))
    # Number the channels anew: groups in order of execution, in each the first producer's channels first.
    order = np.concatenate([m[m >= 0] for m in makers]) if makers else np.zeros(0, dtype=np.int64)
    order = order[np.sort(np.unique(order, return_index=True)[1])]
    first_seen = {group: rank for rank, group in reversed(list(enumerate(group_of[order])))}
    ranks = np.array([first_seen[group] for group in group_of[order]], dtype=np.int64)
    order = order[np.argsort(ranks, kind="stable")]
    number = np.full(trace.labels + 1, -1)
    number[order] = np.arange(len(order))  # number[-1] stays -1: fixed channels
    numbered = [_numbered(layer, number, channel_of) for layer in layers]
    reductions = [Reduction(place, dim, number[channel_of[ids]]) for place, (dim, ids) in trace.reductions.items()]

    groups_in_order = group_of[order]
    starts = np.flatnonzero(np.diff(groups_in_order, prepend=-1))  # where another group begins
    stops = np.append(starts, len(order))[1:]
    group_index = np.repeat(np.arange(len(starts)), stops - starts)
    roles = _roles(numbered, group_index, len(starts))
    frozen: list[dict[Reason, None]] = [{} for _ in starts]
    mixed = [channels for channels in map(np.concatenate, parts) if (channels < 0).any()]
    beside = [(channels, Reason("shares a grouped convolution or a split with fixed channels")) for channels in mixed]
    for channels, reason in (*((channel_of[labels], reason) for labels, reason in trace.frozen), *beside):
        for group in _groups_in(number[channels], group_index):
            frozen[group].setdefault(reason)
    noted = [(number[channel_of[ids]], count, name) for ids, count, name in trace.units]
    weighted = [side for layer in numbered if layer.kind in PRODUCERS for side in (layer.inputs, layer.outputs)]
    units = units_of(len(starts), group_index, noted, weighted)
    touched = [_groups_in(number[np.concatenate(equal)], group_index) for equal in parts]
    found = []
    for group, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        mine = [
            [number[part[part >= 0]] - start for part in equal]
            for equal, groups in zip(parts, touched, strict=True)
            if group in groups
        ]
        blocks, uneven = _blocks(int(stop - start), mine)
        producers, consumers, channelwise = (tuple(names) for names in roles[group])
        reasons = (*frozen[group], *(() if uneven is None else (Reason(uneven),)))
        found.append(RawGroup(int(stop - start), producers, consumers, channelwise, blocks, units[group], reasons))
    return found, numbered, reductions


def _distinct(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Return parts without those of the same channels as another one."""
    return list({np.sort(part).tobytes(): part for part in parts}.values())


def _makes(layer: TracedLayer) -> bool:
    return layer.kind in MAKERS and not _is_depthwise(layer) and bool((layer.outputs > 0).any())


def _is_depthwise(layer: TracedLayer) -> bool:
    return layer.kind in {"conv", "conv_transpose"} and layer.groups > 1 and layer.groups == len(layer.inputs)


def _components(nodes: int, links: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    ends = [np.concatenate(side) for side in zip(*links, strict=True)] or [np.zeros(0, int), np.zeros(0, int)]
    adjacency = coo_array((np.ones(len(ends[0])), (ends[0], ends[1])), shape=(nodes, nodes))
    return connected_components(adjacency, directed=False)[1].astype(np.int64)


def _numbered(layer: TracedLayer, number: np.ndarray, channel_of: np.ndarray) -> Layer:
    inputs, outputs = (number[channel_of[labels]] for labels in (layer.inputs, layer.outputs))
    return Layer(
        layer.name, layer.kind, inputs, outputs, layer.groups, layer.positions, layer.dim, _is_depthwise(layer),
        layer.numbers, layer.by_content, layer.rule,
    )  # fmt: skip


def _groups_in(channels: np.ndarray, group_index: np.ndarray) -> list[int]:
    return np.unique(group_index[channels[channels >= 0]]).tolist()


def _roles(layers: Sequence[Layer], group_index: np.ndarray, groups: int) -> list[tuple[list, list, list]]:
    roles: list[tuple[list, list, list]] = [([], [], []) for _ in range(groups)]
    for layer in layers:
        if layer.kind == "number":
            continue
        makes = layer.kind in MAKERS and not layer.depthwise
        if makes or layer.kind in READERS - PRODUCERS:
            for group in _groups_in(layer.inputs, group_index):
                roles[group][1].append(layer.name)
        for group in _groups_in(layer.outputs, group_index):
            roles[group][0 if makes else 2].append(layer.name)
    return roles


def _blocks(channels: int, constraints: list[list[np.ndarray]]) -> tuple[tuple[int, ...] | None, str | None]:
    """Return each channel's block under all equal-parts constraints, or why they cannot be met.

    A plan takes as many channels from each block. Channels of a block do the same to every constraint, and blocks are
    equally large.
    """
    weights = []  # how many a channel counts for in each part, beyond what it does in all: (channels, parts)
    for parts in constraints:
        counts = np.stack([np.bincount(part, minlength=channels) for part in parts], axis=1)
        weights.append(counts - counts.min(axis=1, keepdims=True))
    if not any(weight.any() for weight in weights):
        return None, None  # each channel takes the same from every part
    rows = np.concatenate(weights, axis=1)
    _, starts, cells, sizes = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    size = int(np.gcd.reduce(sizes))
    order = np.argsort(starts[cells], kind="stable")
    blocks = np.empty(channels, dtype=np.int64)
    blocks[order] = np.arange(channels) // size
    first = order[::size]  # of each block one channel
    if size == 1 or any(len(set(weight[first].sum(axis=0).tolist())) > 1 for weight in weights):
        return None, "a grouped convolution or a split asks for parts that cannot stay equal"
    return tuple(blocks.tolist()), None

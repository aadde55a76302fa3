"""From what tracing has seen to the channel graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from fpgmlab.errors import unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.graph.grouping import RawGroup, group_channels
from fpgmlab.graph.parts import incomplete_sides, parts_of
from fpgmlab.graph.tracing.passes import trace_labels
from fpgmlab.graph.tracing.reductions import PRODUCTS
from fpgmlab.graph.tracing.ruled import NO_RULES, Rules


def build_graph(
    model: nn.Module, example_input: object, *, protect: Sequence[str] = (), layers: Rules = NO_RULES
) -> ChannelGraph:
    """Return the graph that tracing alone gives, of a model and an input that it takes as `fpgmlab.trace` does."""
    if isinstance(protect, str):
        protect = [protect]
    modules = dict(model.named_modules())
    for name in protect:
        if name not in modules:
            raise ValueError(unknown("module", name, modules))
    seen = trace_labels(model, example_input, layers)
    raw, numbered, reductions = group_channels(seen)
    if not raw:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer that ran: nothing to prune")
    stops = np.cumsum([group.channels for group in raw]).tolist()
    slices = [slice(stop - group.channels, stop) for group, stop in zip(raw, stops, strict=True)]
    sides = tuple(incomplete_sides(numbered, slices))
    channels = [each.channels for each in reductions if each.place.operation in PRODUCTS]
    multiplied = np.unique(np.concatenate([np.zeros(0, np.int64), *channels]))
    read = [bool(((multiplied >= where.start) & (multiplied < where.stop)).any()) for where in slices]
    groups = [_public(*each, protect) for each in zip(raw, parts_of(sides, slices), read, strict=True)]
    return ChannelGraph(
        model,
        example_input,
        groups,
        numbered,
        seen.other_macs,
        sides,
        seen.training_only,
        seen.suspect,
        reductions,
        layers,
    )


def _public(
    group: RawGroup, parts: tuple[tuple[int, ...], ...], multiplied: bool, protect: Sequence[str]
) -> ChannelGroup:
    reason, remedy = group.frozen[0] if group.frozen else (None, "")
    if reason is None and not group.consumers and not multiplied:
        reason = "no layer consumes it"
    if reason is None and group.channels == len(set(group.blocks or (0,))):
        reason = "nothing would stay: it has one channel" + (" in each block" if group.blocks else "")
    layers = (*group.producers, *group.channelwise)
    named = [p for p in protect for layer in layers if p in ("", layer) or layer.startswith(f"{p}.")]
    if reason is None and named:
        reason, remedy = f"the user named {named[0]!r}", f"trace without {named[0]!r} in protect"
    found = ChannelGroup(
        group.producers[0], group.channels, group.producers, group.consumers, reason, group.channelwise, group.blocks,
        parts, remedy, *group.unit,
    )  # fmt: skip
    if reason is None and found.least >= group.channels:
        return replace(found, protected="nothing could go: each of its channels is the last one of a layer")
    return found

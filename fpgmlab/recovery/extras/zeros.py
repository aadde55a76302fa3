"""Channels of a network that are zero, as a plan."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.graph.tracing.reductions import MIXING_NORMS
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import lowest
from fpgmlab.recovery.extras.channels import SIDES, count_of, slices_of, sums_by_channel


def plan_of_zeros(graph: ChannelGraph) -> Plan:
    """Return the plan that removes the channels whose weights are exactly zero: `prune` of it changes no output.

    A channel is zero when all weights for it in the layers that read it are, as after `SoftPruning`; or all weights
    that make it, biases and batch norms' scales and shifts among them, as after `GroupLasso`: then activations must
    leave zero as it is. What runs over channels, such as a layer norm or a mean, sees the others alone afterwards.

    Parameters
    ----------
    graph : ChannelGraph
        Of the trained network; its weights are looked at as they are now.

    Returns
    -------
    Plan
        Of protected groups it removes none; each group keeps what it must, and as many go from each of its blocks.
    """
    total = count_of(graph)
    zero = torch.zeros(total, dtype=torch.bool)
    for side in SIDES:
        slices = slices_of(graph, side)
        there = torch.zeros(total + 1, dtype=torch.bool)
        for one in slices:
            there[one.channels.cpu()] = True
        found = there[:total] & (sums_by_channel(slices, total)[:total] == 0).cpu()
        zero |= found & ~_shifted(graph, total) if side == "makers" else found
    removed = {}
    for name, group in graph.items():
        if group.protected is None:
            removed[name] = _removable(group, zero[graph.channels_of(name)].numpy())
    return Plan({name: group.channels for name, group in graph.items()}, removed)


def _shifted(graph: ChannelGraph, total: int) -> Tensor:
    """Return the channels, (channels,) bool, that something else than a parameter may shift away from zero."""
    modules, shifted = dict(graph.model.named_modules()), torch.zeros(total, dtype=torch.bool)
    parameters = dict(graph.model.named_parameters())
    for layer in graph.layers:
        plain_norm = layer.kind.endswith("_norm") and getattr(modules[layer.name], "weight", None) is None
        hidden = layer.kind == "tensor" and layer.name not in parameters
        if plain_norm or hidden or layer.rule is not None:  # nobody knows what a class of one's own does with zeros
            shifted[torch.from_numpy(layer.outputs[layer.outputs >= 0])] = True
    normed = {layer.name for layer in graph.layers if layer.kind in MIXING_NORMS}
    for reduction in graph.reductions:  # x - x.mean(1), softmax: zero becomes something else
        if reduction.place.operation not in MIXING_NORMS or reduction.place.module not in normed:
            shifted[torch.from_numpy(reduction.channels[reduction.channels >= 0])] = True
    return shifted


def _removable(group: ChannelGroup, zero: np.ndarray) -> tuple[int, ...]:
    """Return the zero channels of a group that can go together."""
    blocks = np.zeros(group.channels, int) if group.blocks is None else np.asarray(group.blocks)
    each = min(int(zero[blocks == block].sum()) for block in np.unique(blocks))
    each = min(each, (group.channels - group.least) // group.step)
    scores = {group.name: torch.from_numpy(1.0 - zero)}
    while each:
        gone = lowest(group, scores, each * group.step)
        if zero[list(gone)].all():
            return gone
        each -= 1
    return ()

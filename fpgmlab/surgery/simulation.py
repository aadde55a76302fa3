"""Simulation: the outputs of the pruned model from the whole one, nothing is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_at
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.graph.layer import Layer
from fpgmlab.plans.plan import Plan
from fpgmlab.surgery.cutting import holders_of, kept_of, masked
from fpgmlab.surgery.reducing import over_kept


@contextmanager
def simulate(graph: ChannelGraph, plan: Plan) -> Iterator[nn.Module]:
    """Make the graph's model give the outputs that the pruned model would give, in eval mode, without surgery.

    A removed channel is cut off at its consumers: their weights for it are replaced by zeros for the time being
    (zeroing its filter instead would leave the batch norm's bias flowing on). What runs over channels, such as a mean,
    a softmax or a layer norm, sees only those that stay. On exit, also after an exception, the model holds the
    very tensors it held before.

    Parameters
    ----------
    graph : ChannelGraph
    plan : Plan
        Made for this graph.

    Yields
    ------
    nn.Module
        ``graph.model``.

    Raises
    ------
    TypeError
        When the first argument is no graph, such as the network itself.

    Notes
    -----
    The model's own weights are swapped out, so use one simulation of a model at a time, and for evaluation only.

    Examples
    --------
    >>> with fl.simulate(graph, plan) as simulated:
    ...     found = fl.evaluate(simulated, task, max_samples=64)
    >>> found["samples"]
    64
    """
    check_graph(graph)
    keep = torch.from_numpy(graph.keep(plan))
    modules = dict(graph.model.named_modules())
    holders = holders_of(graph.model)
    swapped: list[tuple[dict[str, Tensor | None], str, Tensor | None]] = []
    try:
        for name, layer, keep_in in cut_off(graph, plan):
            masked_weight = masked(name, tensor_at(modules, name).detach(), layer, keep_in)
            for module, key in holders[name]:
                table = _table(module, key)
                swapped.append((table, key, table[key]))
                table[key] = masked_weight
        with over_kept(graph, keep):
            yield graph.model
    finally:
        for table, key, weight in reversed(swapped):
            table[key] = weight


def _table(module: nn.Module, key: str) -> dict[str, Tensor | None]:
    """Return where a module has a tensor; a plain one may stand in a parameter's place, of which types do not know."""
    return cast("dict[str, Tensor | None]", module._parameters if key in module._parameters else module._buffers)


def cut_off(graph: ChannelGraph, plan: Plan) -> Iterator[tuple[str, Layer, Tensor]]:
    """Yield what `simulate` cuts off: weights by dotted name, their layer, and which of its input channels stay.

    Parameters
    ----------
    graph : ChannelGraph
    plan : Plan
        Made for this graph.
    """
    keep = torch.from_numpy(graph.keep(plan))
    for layer in graph.layers:
        if layer.reading:
            keep_in = kept_of(layer.inputs, keep)
            if not bool(keep_in.all()):
                yield from ((name, layer, keep_in) for name in layer.reading)

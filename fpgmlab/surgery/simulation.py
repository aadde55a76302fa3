"""Simulation: the outputs of the pruned model from the whole one, nothing is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fpgmlab.common.modules import tensor_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import PRODUCERS, Layer
from fpgmlab.plans.plan import Plan
from fpgmlab.surgery.cutting import holders_of, kept_of, masked

MIXING_NORMS = frozenset({"layer_norm", "rms_norm", "group_norm"})


@contextmanager
def simulate(graph: ChannelGraph, plan: Plan) -> Iterator[nn.Module]:
    """Make the graph's model give the outputs that the pruned model would give, in eval mode, without surgery.

    A removed channel is cut off at its consumers: their weights for it are replaced by zeros for the time being
    (zeroing its filter instead would leave the batch norm's bias flowing on). Layers that normalise over channels see
    only those that stay. On exit, also after an exception, the model holds the very tensors it held before.

    Parameters
    ----------
    graph : ChannelGraph
    plan : Plan
        Made for this graph.

    Yields
    ------
    nn.Module
        ``graph.model``.

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
    keep = torch.from_numpy(graph.keep(plan))
    modules = dict(graph.model.named_modules())
    holders = holders_of(graph.model)
    swapped: list[tuple[nn.Module, str, nn.Parameter | None]] = []
    norms: dict[int, Tensor] = {}
    try:
        for name, layer, keep_in in cut_off(graph, plan):
            masked_weight = masked(tensor_of(modules[layer.name], "weight").detach(), layer, keep_in)
            for module, key in holders[name]:
                swapped.append((module, key, module._parameters[key]))
                _put(module, key, masked_weight)
        for layer in graph.layers:
            if layer.kind in MIXING_NORMS:
                keep_out = kept_of(layer.outputs, keep)
                if not bool(keep_out.all()):
                    module = modules[layer.name]
                    # A copy of the weight tells this norm's calls from others and carries what a simulation around this
                    # one already took away.
                    before = tensor_of(module, "weight")
                    copy = before.detach().clone()
                    stay = keep_out & getattr(before, "stay", keep_out)
                    vars(copy)["stay"] = stay
                    norms[id(copy)] = stay.nonzero().squeeze(1)
                    swapped.append((module, "weight", module._parameters["weight"]))
                    _put(module, "weight", copy)
        with _NormOverKept(norms) if norms else nullcontext():
            yield graph.model
    finally:
        for module, key, weight in reversed(swapped):
            module._parameters[key] = weight


def _put(module: nn.Module, key: str, tensor: Tensor) -> None:
    """Put a plain tensor where a module has a parameter, which its types do not know of."""
    module._parameters[key] = cast("nn.Parameter", tensor)


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
        if layer.kind in PRODUCERS and not layer.depthwise:
            keep_in = kept_of(layer.inputs, keep)
            if not bool(keep_in.all()):
                yield f"{layer.name}.weight" if layer.name else "weight", layer, keep_in


class _NormOverKept(TorchFunctionMode):
    """Normalises over the channels that stay; the removed ones come out as zeros."""

    def __init__(self, norms: dict[int, Tensor]) -> None:
        super().__init__()
        self.norms = norms  # which channels stay, by id of the weight

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in MIXING_NORMS:
            return func(*args, **kwargs)
        order = (
            ("input", "shape", "weight", "eps") if name == "rms_norm" else ("input", "shape", "weight", "bias", "eps")
        )
        given = dict(zip(order, args, strict=False))
        given |= {"shape" if k in {"normalized_shape", "num_groups"} else k: v for k, v in kwargs.items()}
        stay = self.norms.get(id(given.get("weight")))
        if stay is None:
            return func(*args, **kwargs)
        x, stay = given["input"], stay.to(given["input"].device)
        dim = 1 if name == "group_norm" else x.ndim - 1
        shape = given["shape"] if name == "group_norm" else (len(stay),)
        rest = {k: given[k].index_select(0, stay) for k in ("weight", "bias") if given.get(k) is not None}
        rest |= {"eps": given["eps"]} if given.get("eps") is not None else {}
        normed = func(x.index_select(dim, stay), shape, **rest)
        return torch.zeros_like(x, dtype=normed.dtype).index_copy_(dim, stay, normed)

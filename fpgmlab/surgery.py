"""Surgery: `prune` cuts the channels of a plan out of a copy, `simulate` gives the same outputs without cutting."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fpgmlab.cutting import cuts, kept_of, masked, match_attributes
from fpgmlab.graph import ChannelGraph
from fpgmlab.grouping import PRODUCERS, Layer
from fpgmlab.modules import eval_mode, split_name
from fpgmlab.plan import Plan
from fpgmlab.provenance import add_plan
from fpgmlab.tracing import call, left_as_it_is

MIXING_NORMS = frozenset({"layer_norm", "rms_norm", "group_norm"})


def prune(graph: ChannelGraph, plan: Plan) -> nn.Module:
    """Cut the channels that a plan removes out of a copy of the model.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is.
    plan : Plan
        Made for this graph.

    Returns
    -------
    nn.Module
        A smaller model of the same class, on the same device, in the same mode; it notes the plan in its provenance.

    Raises
    ------
    ValueError
        For a plan that was made for another network or other widths.
    RuntimeError
        When the model cannot be copied, or the pruned one does not run, because its code relies on a number of
        channels; with the layer.
    """
    keep = torch.from_numpy(graph.keep(plan))
    try:
        pruned = copy.deepcopy(graph.model)
    except Exception as error:
        raise RuntimeError(f"{type(graph.model).__name__} cannot be copied: {error}") from error
    modules = dict(pruned.named_modules())
    holders = _holders(pruned)
    for layer in graph.layers:
        keep_in, keep_out = kept_of(layer.inputs, keep), kept_of(layer.outputs, keep)
        if bool(keep_in.all()) and bool(keep_out.all()):
            continue
        for name, cut in cuts(layer, modules, keep_in, keep_out):
            _replace(holders, name, cut)
        module = modules[split_name(layer.name)[0] if layer.kind == "tensor" else layer.name]
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.num_features = int(keep_out.sum())  # it may have no tensor to tell
        match_attributes(module)
    if any(plan.removed.values()):
        _try_run(pruned, graph)
    add_plan(pruned, plan)
    return pruned


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
    """
    keep = torch.from_numpy(graph.keep(plan))
    modules = dict(graph.model.named_modules())
    holders = _holders(graph.model)
    swapped: list[tuple[nn.Module, str, nn.Parameter]] = []
    norms: dict[int, Tensor] = {}
    try:
        for name, layer, keep_in in cut_off(graph, plan):
            weight = masked(modules[layer.name].weight.detach(), layer, keep_in)
            for module, key in holders[name]:
                swapped.append((module, key, module._parameters[key]))
                module._parameters[key] = weight
        for layer in graph.layers:
            if layer.kind in MIXING_NORMS:
                keep_out = kept_of(layer.outputs, keep)
                if not bool(keep_out.all()):
                    module = modules[layer.name]
                    # A copy of the weight tells this norm's calls from others and carries what a simulation around this
                    # one already took away.
                    weight = module.weight.detach().clone()
                    weight.stay = keep_out & getattr(module.weight, "stay", keep_out)
                    norms[id(weight)] = weight.stay.nonzero().squeeze(1)
                    swapped.append((module, "weight", module._parameters["weight"]))
                    module._parameters["weight"] = weight
        with _NormOverKept(norms) if norms else nullcontext():
            yield graph.model
    finally:
        for module, key, weight in reversed(swapped):
            module._parameters[key] = weight


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


def agreement(graph: ChannelGraph, plan: Plan, example_input: object | None = None) -> float:
    """Return the largest difference between simulated and pruned outputs, relative to the largest output.

    Parameters
    ----------
    graph : ChannelGraph
    plan : Plan
    example_input : optional
        What to call the models with; the graph's own when left out.
    """
    from fpgmlab.modules import tensors_in

    inputs = graph.example_input if example_input is None else example_input
    pruned = prune(graph, plan)
    with torch.no_grad(), eval_mode(graph.model), eval_mode(pruned):
        with simulate(graph, plan) as model:
            simulated = list(tensors_in(call(model, inputs)))
        cut = list(tensors_in(call(pruned, inputs)))
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(simulated, cut, strict=True) if b.numel()]
    if any(a.shape != b.shape for a, b in pairs):
        raise RuntimeError(
            f"simulated and pruned outputs differ in shape: {[(*a.shape,) for a, _ in pairs]} and "
            f"{[(*b.shape,) for _, b in pairs]}"
        )
    scale = max((float(b.abs().max()) for _, b in pairs), default=0.0)
    apart = torch.tensor([float((a - b).abs().max()) for a, b in pairs] or [0.0])
    return float(apart.max()) / max(scale, 1e-30)  # NaN stays NaN


def _holders(model: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Return every (module, attribute) that holds each parameter or buffer, by its first name."""
    holders: dict[int, list[tuple[nn.Module, str]]] = {}
    names: dict[int, str] = {}
    for path, module in model.named_modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                names.setdefault(id(tensor), f"{path}.{key}" if path else key)
                holders.setdefault(id(tensor), []).append((module, key))
    return {names[i]: places for i, places in holders.items()}


def _replace(holders: dict[str, list[tuple[nn.Module, str]]], name: str, cut: Callable[[Tensor], Tensor]) -> None:
    module, key = holders[name][0]
    old = getattr(module, key)
    new = cut(old.detach()).clone()
    parameter = isinstance(old, nn.Parameter)
    new = nn.Parameter(new, requires_grad=old.requires_grad) if parameter else new
    for module, key in holders[name]:
        (module._parameters if parameter else module._buffers)[key] = new


def _try_run(pruned: nn.Module, graph: ChannelGraph) -> None:
    running: list[str] = []
    handles = []

    def leave(*_: object) -> None:
        running.pop()

    for name, module in pruned.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
            handles.append(module.register_forward_hook(leave))
    try:
        with left_as_it_is(pruned), eval_mode(pruned), torch.no_grad():
            call(pruned, graph.example_input)
    except Exception as error:
        where = repr(running[-1]) if running and running[-1] else "its own code"
        raise RuntimeError(
            f"the pruned {type(pruned).__name__} does not run: {where} failed with {error}. Its code relies on a "
            "number of channels; trace with protect=[...] for the groups around it."
        ) from error
    finally:
        for handle in handles:
            handle.remove()


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

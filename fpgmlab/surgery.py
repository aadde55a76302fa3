"""Surgery: `prune` cuts the channels of a plan out of a copy, `simulate` gives the same outputs without cutting."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fpgmlab.graph import ChannelGraph
from fpgmlab.grouping import PRODUCERS, Layer
from fpgmlab.modules import eval_mode
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
        keep_in, keep_out = _kept(layer.inputs, keep), _kept(layer.outputs, keep)
        if bool(keep_in.all()) and bool(keep_out.all()):
            continue
        for name, cut in _cuts(layer, modules, keep_in, keep_out):
            _replace(holders, name, cut)
        if layer.kind != "tensor":
            module = modules[layer.name]
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
        for layer in graph.layers:
            if layer.kind in PRODUCERS and not layer.depthwise:
                keep_in = _kept(layer.inputs, keep)
                if bool(keep_in.all()):
                    continue
                name = f"{layer.name}.weight" if layer.name else "weight"
                masked = _masked(modules[layer.name].weight.detach(), layer, keep_in)
                for module, key in holders[name]:
                    swapped.append((module, key, module._parameters[key]))
                    module._parameters[key] = masked
            elif layer.kind in MIXING_NORMS:
                keep_out = _kept(layer.outputs, keep)
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


# Cutting -------------------------------------------------------------------------------------------------------------


def _kept(channels: np.ndarray | None, keep: Tensor) -> Tensor:
    """Return which of a layer's channels stay, (channels,) bool; a channel of no group always does."""
    if channels is None:
        return torch.ones(0, dtype=torch.bool)
    index = torch.from_numpy(channels)
    return torch.where(index < 0, True, keep[index.clamp_min(0)])


def _cuts(
    layer: Layer, modules: dict[str, nn.Module], keep_in: Tensor, keep_out: Tensor
) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Yield (tensor name, function that cuts it) for every tensor of a layer."""
    if layer.kind == "tensor":
        yield layer.name, lambda tensor: _take(tensor, layer.dim, keep_out)
        return
    module = modules[layer.name]
    for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        full = f"{layer.name}.{name}" if layer.name else name
        if name == "weight" and layer.kind in PRODUCERS:
            yield full, lambda tensor: _cut_weight(tensor, layer, keep_in, keep_out)
        elif tensor.ndim == 1 and len(tensor) == len(layer.outputs):
            yield full, lambda tensor: _take(tensor, 0, keep_out)


def _take(tensor: Tensor, dim: int, keep: Tensor) -> Tensor:
    return tensor.index_select(dim, keep.nonzero().squeeze(1).to(tensor.device))


def _cut_weight(weight: Tensor, layer: Layer, keep_in: Tensor, keep_out: Tensor) -> Tensor:
    transposed = layer.kind == "conv_transpose"
    if layer.depthwise:
        # (channels, multiplier, ...) or (channels * multiplier, 1, ...): one block of rows for each input channel.
        return _take(weight, 0, keep_in if transposed else keep_out)
    if layer.groups == 1:
        return _take(_take(weight, 0, keep_in if transposed else keep_out), 1, keep_out if transposed else keep_in)
    # Rows are those of all blocks; columns are counted within a block.
    rows, columns = (keep_in, keep_out) if transposed else (keep_out, keep_in)
    parts = [part.chunk(layer.groups) for part in (weight, rows.to(weight.device), columns.to(weight.device))]
    return torch.cat([_take(_take(w, 0, r), 1, c) for w, r, c in zip(*parts, strict=True)])


def _masked(weight: Tensor, layer: Layer, keep_in: Tensor) -> Tensor:
    gone = ~keep_in.to(weight.device)
    trailing = (1,) * (weight.ndim - 2)
    if layer.kind == "conv_transpose":
        return weight.masked_fill(gone.reshape(-1, 1, *trailing), 0)
    gone = gone.reshape(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, dim=0)  # (out, in/groups)
    return weight.masked_fill(gone.reshape(*gone.shape, *trailing), 0)


def match_attributes(module: nn.Module) -> None:
    """Set a layer's own record of its channels to what its tensors have."""
    weight = getattr(module, "weight", None)
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        if module.groups == module.in_channels and module.groups > 1:  # depthwise
            module.groups = len(weight) // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        if module.groups == module.in_channels and module.groups > 1:
            module.groups = len(weight)
        module.in_channels, module.out_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif hasattr(module, "normalized_shape"):  # also of a user's own layer norm
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = len(weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        tensors = (weight, module.running_mean)
        module.num_features = next((len(t) for t in tensors if t is not None), module.num_features)


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

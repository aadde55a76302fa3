"""Tensors of a layer without some of its channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.attributes import match_attributes
from fpgmlab.common.modules import forget_caches, full_name, split_name, tensor_at, tensor_of
from fpgmlab.graph.layer import Axes, Layer
from fpgmlab.graph.layer_rule import LayerRule


def kept_of(channels: np.ndarray, keep: Tensor) -> Tensor:
    """Return which of a layer's channels stay, (channels,) bool; a channel of no group always does."""
    index = torch.from_numpy(channels)
    return torch.where(index < 0, True, keep[index.clamp_min(0)])


def cuts(
    layer: Layer, modules: dict[str, nn.Module], keep_in: Tensor, keep_out: Tensor
) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Yield (tensor name, function that cuts it) for every tensor of a layer."""
    for name, _, axes in layer.tensors(modules):
        yield name, partial(_cut, groups=layer.groups, axes=axes, keep_in=keep_in, keep_out=keep_out)


def _take(tensor: Tensor, dim: int, keep: Tensor) -> Tensor:
    return tensor.index_select(dim, keep.nonzero().squeeze(1).to(tensor.device))


def _cut(tensor: Tensor, groups: int, axes: Axes, keep_in: Tensor, keep_out: Tensor) -> Tensor:
    if groups == 1 or None in axes:
        for dim, keep in zip(axes, (keep_in, keep_out), strict=True):
            tensor = tensor if dim is None else _take(tensor, dim, keep)
        return tensor
    # Rows are those of all blocks; columns are counted within a block.
    rows, columns = (keep_in, keep_out) if axes.inputs == 0 else (keep_out, keep_in)
    parts = [part.chunk(groups) for part in (tensor, rows.to(tensor.device), columns.to(tensor.device))]
    return torch.cat([_take(_take(w, 0, r), 1, c) for w, r, c in zip(*parts, strict=True)])


def masked(name: str, weight: Tensor, layer: Layer, keep_in: Tensor) -> Tensor:
    """Return one of the tensors through which a layer reads (`Layer.reading`), zero for channels that do not stay."""
    gone, dim = ~keep_in.to(weight.device), layer.axes(name, weight).inputs
    if dim is None:
        return weight
    if layer.groups == 1 or dim == 0:
        return weight.masked_fill(gone.reshape(tuple(-1 if d == dim else 1 for d in range(weight.ndim))), 0)
    gone = gone.reshape(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, dim=0)  # (out, in/groups)
    return weight.masked_fill(gone.reshape(*gone.shape, *(1,) * (weight.ndim - 2)), 0)


def holders_of(model: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Return every (module, attribute) that holds each parameter or buffer, by its first name."""
    holders: dict[int, list[tuple[nn.Module, str]]] = {}
    names: dict[int, str] = {}
    for path, module in model.named_modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                names.setdefault(id(tensor), full_name(path, key))
                holders.setdefault(id(tensor), []).append((module, key))
    return {names[i]: places for i, places in holders.items()}


def cut_out(model: nn.Module, layers: Sequence[Layer], keep: Tensor) -> dict[str, int | tuple[int, ...]]:
    """Cut channels out of a model, in place.

    Parameters
    ----------
    model : nn.Module
    layers : sequence of Layer
        Of its graph.
    keep : Tensor, (channels,)
        Which of all groups' channels stay, bool.

    Returns
    -------
    dict
        Attributes of modules that hold a number of channels, by dotted name, with what they hold now.
    """
    modules = dict(model.named_modules())
    holders, halved = holders_of(model), _halved(modules)
    numbers: dict[str, int | tuple[int, ...]] = {}
    for layer in layers:
        keep_in, keep_out = kept_of(layer.inputs, keep), kept_of(layer.outputs, keep)
        if bool(keep_in.all()) and bool(keep_out.all()):
            continue
        if layer.kind == "number":
            numbers[layer.name] = _renumber(modules, layer, int(keep_out.sum()))
            continue
        for name, cut in cuts(layer, modules, keep_in, keep_out):
            _replace(holders, name, cut)
        for name in layer.holding():
            module = modules[name]
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.num_features = int(keep_out.sum())  # it may have no tensor to tell
            match_attributes(module)
        if layer.rule is not None:
            numbers |= _told(modules[layer.name], layer.name, layer.rule, int(keep_in.sum()), int(keep_out.sum()))
    forget_caches(model)
    return numbers | _halves(modules, halved)


def _halved(modules: dict[str, nn.Module]) -> list[str]:
    """Return the names of ultralytics' C2f and its like: only an export splits them, by half of what comes first."""
    found = []
    for name, module in modules.items():
        first = getattr(getattr(getattr(module, "cv1", None), "conv", None), "weight", None)
        count = vars(module).get("c")
        if not isinstance(first, Tensor) or not isinstance(count, int):
            continue
        if callable(getattr(module, "forward_split", None)) and len(first) == 2 * count:
            found.append(name)
    return found


def _halves(modules: dict[str, nn.Module], names: Iterable[str]) -> dict[str, int]:
    """Write anew what `_halved` modules split by, where they were cut; return it by dotted name."""
    now = {name: len(tensor_at(modules, f"{name}.cv1.conv.weight".lstrip("."))) // 2 for name in names}
    cut = {name: half for name, half in now.items() if vars(modules[name])["c"] != half}
    for name, half in cut.items():
        vars(modules[name])["c"] = half
    return {f"{name}.c".lstrip("."): half for name, half in cut.items()}


def _told(module: nn.Module, name: str, rule: LayerRule, inputs: int, outputs: int) -> dict[str, int]:
    """Write how many channels a layer has into the attributes that its rule names; return them by dotted name."""
    counts = {key: inputs if word == "in" else outputs for key, word in rule.attributes.items()}
    for key, count in counts.items():
        setattr(module, key, count)
    return {full_name(name, key): count for key, count in counts.items()}


def _renumber(modules: dict[str, nn.Module], layer: Layer, count: int) -> int | tuple[int, ...]:
    """Write a number of channels into the attribute that holds it; return what that holds now."""
    path, key = split_name(layer.name)
    attributes = vars(modules[path])
    old = attributes[key]
    if isinstance(old, list):
        old[layer.dim] = count  # others may hold the same list
        return tuple(old)
    attributes[key] = count if layer.dim < 0 else type(old)((*old[: layer.dim], count, *old[layer.dim + 1 :]))
    return attributes[key]


def _replace(holders: dict[str, list[tuple[nn.Module, str]]], name: str, cut: Callable[[Tensor], Tensor]) -> None:
    module, key = holders[name][0]
    old = tensor_of(module, key)
    new = cut(old.detach()).clone()
    parameter = nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else None
    for module, key in holders[name]:
        if parameter is not None:
            module._parameters[key] = parameter
        else:
            module._buffers[key] = new

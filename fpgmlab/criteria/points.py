"""The filters of layers, and what reads their inputs, as points for criteria."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_at, tensor_of
from fpgmlab.graph.layer import Layer


def filters(module: nn.Module) -> Tensor:
    """Return the filters of a convolution or linear layer, or the scales of a batch norm, as float64 vectors.

    Returns
    -------
    Tensor, (output channels, dim)
        On the module's device, where that has float64; else on the CPU.

    Examples
    --------
    >>> fl.criteria.filters(model.conv1).shape
    torch.Size([16, 9])
    """
    weight = _double(tensor_of(module, "weight"))
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        per_group = weight.reshape(module.groups, -1, *weight.shape[1:])  # (groups, in/groups, out/groups, ...)
        weight = per_group.transpose(1, 2).reshape(module.out_channels, -1)
    return weight.flatten(1) if weight.ndim > 1 else weight.unsqueeze(1)


def readers(module: nn.Module) -> Tensor:
    """Return the weights that read each input channel of a convolution or linear layer, (input channels, dim)."""
    weight = _double(tensor_of(module, "weight"))
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return weight.flatten(1)
    groups = getattr(module, "groups", 1)
    per_group = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, out/groups, in/groups, ...)
    return per_group.transpose(1, 2).reshape(groups * weight.shape[1], -1)


def filters_of(layer: Layer, modules: Mapping[str, nn.Module]) -> Tensor:
    """Return the filters of a graph's layer as `filters` does; of one with a rule those of the tensor that it names."""
    return filters(modules[layer.name]) if layer.rule is None else _along(layer, modules, "out")


def readers_of(layer: Layer, modules: Mapping[str, nn.Module]) -> Tensor:
    """Return the weights that read each input channel of a graph's layer, (input channels, dim)."""
    return readers(modules[layer.name]) if layer.rule is None else _along(layer, modules, "in")


def has_filters(layer: Layer, modules: Mapping[str, nn.Module]) -> bool:
    """Tell whether a layer has weights that can be scored."""
    if layer.rule is not None:
        return layer.rule.filters is not None
    return getattr(modules[layer.name], "weight", None) is not None


def kernel_of(layer: Layer, modules: Mapping[str, nn.Module]) -> tuple[int, ...]:
    """Return the shape of what a filter has for each input, of a graph's layer; () of a linear layer."""
    if layer.rule is not None:
        return tuple(_moved(layer, modules, "out").shape[2:])
    weight = getattr(modules[layer.name], "weight", None)
    return tuple(weight.shape[2:]) if isinstance(weight, Tensor) else ()


def _along(layer: Layer, modules: Mapping[str, nn.Module], word: str) -> Tensor:
    """Return the filters of a layer with a rule, or its weights for each input, as vectors (channels, dim)."""
    return _double(_moved(layer, modules, word)).flatten(1)


def _moved(layer: Layer, modules: Mapping[str, nn.Module], first: str) -> Tensor:
    """Return the weights of a layer with a rule, one kind of channels along the first dimension, the other next."""
    rule = layer.rule
    if rule is None or rule.filters is None:
        raise ValueError(f"layer {layer.name!r} has no filters")
    dims = [rule.axis(rule.filters, word) for word in (first, "in" if first == "out" else "out")]
    weight = tensor_at(modules, layer.full(rule.filters)).detach()
    return weight.movedim([dim for dim in dims if dim is not None], [0, 1])


def _double(weight: Tensor) -> Tensor:
    weight = weight.detach()
    return (weight.cpu() if weight.device.type == "mps" else weight).to(torch.float64)

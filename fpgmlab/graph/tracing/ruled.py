"""Layers of a user's own class, taken as a whole by the rule that the user gives (see `LayerRule`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fpgmlab.common.modules import full_name, split_name, tensor_at
from fpgmlab.errors import few
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.graph.tracing.labels import give_up
from fpgmlab.graph.tracing.layers import LayerRecorder, TracedLayer, entering
from fpgmlab.graph.tracing.own import laid
from fpgmlab.graph.tracing.recorder import TracingError
from fpgmlab.graph.tracing.widths import unmarked

Rules = Mapping[type[nn.Module], LayerRule]
NO_RULES: Rules = MappingProxyType({})


def ruled_modules(model: nn.Module, rules: Rules) -> dict[str, LayerRule]:
    """Return the modules of a model that rules are for, by name, outermost ones, with the tensors that each has.

    Raises
    ------
    TypeError
        For what is no class of modules, or no rule.
    ValueError
        For a tensor or attribute that a module does not have, or that has other dimensions.
    """
    for kind, rule in rules.items():
        if not isinstance(kind, type) or not issubclass(kind, nn.Module):
            raise TypeError(f"layers must map classes of modules to rules; {kind!r} is no such class")
        if not isinstance(rule, LayerRule):
            raise TypeError(f"the rule of {kind.__name__} must be an fpgmlab.LayerRule; got {type(rule).__name__}")
    found: dict[str, LayerRule] = {}
    for name, module in model.named_modules():
        given = next((rules[kind] for kind in type(module).__mro__ if kind in rules), None)
        if given is not None and not any(within(name, outer) for outer in found):
            found[name] = _of(module, name, given)
    return found


def within(name: str, outer: str) -> bool:
    """Tell whether a module is another one or a part of it, by their names."""
    return not outer or name == outer or name.startswith(f"{outer}.")


def _of(module: nn.Module, name: str, rule: LayerRule) -> LayerRule:
    """Return a rule with the tensors that a module has: one may be None, as the bias of a layer without."""
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    what = f"{type(module).__name__} ({name!r})"
    there = {}
    for tensor, words in rule.tensors.items():
        if tensor not in own:
            path, key = split_name(tensor)
            holder = dict(module.named_modules()).get(path)
            if holder is not None and getattr(holder, key, ...) is None:
                continue
            raise ValueError(f"the rule of {what} names {tensor!r}; its parameters and buffers are {few(own, 12)}")
        if own[tensor].ndim != len(words):
            raise ValueError(
                f"the rule of {what} says {tuple(words)} of {tensor!r}, which has {own[tensor].ndim} dimensions: "
                f"{tuple(own[tensor].shape)}"
            )
        there[tensor] = words
    for attribute in rule.attributes:
        if not isinstance(getattr(module, attribute, None), int):
            raise ValueError(f"the rule of {what} names the attribute {attribute!r}, in which it has no whole number")
    return replace(rule, tensors=there)


class Seeing(Protocol):
    """What sees a forward pass, and can look away."""

    to: Any  # a LayerRecorder that notes which tensors were seen

    def running(self) -> AbstractContextManager[None]: ...


def take_whole(mode: Seeing, ruled: Mapping[str, LayerRule]) -> None:
    """Let modules be run as one layer each, by their rules; whoever calls this puts their attributes back."""
    for name, rule in ruled.items():
        module = mode.to.modules[name]
        vars(module)["forward"] = partial(_unseen, mode, name, rule, module.forward)


def _unseen(mode: Seeing, name: str, rule: LayerRule, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    args, kwargs = pytree.tree_map(lambda leaf: unmarked(leaf, None), (args, kwargs))
    with mode.running(), torch._C.DisableTorchFunction():
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        mode.to.reads_content = any(tensor in mode.to.by_content for tensor in tensors)
        out = taken_whole(mode.to, name, rule, forward, args, kwargs)
        if mode.to.reads_content:
            mode.to.by_content[out] = True
        mode.to.seen.update(full_name(name, each) for each, _ in mode.to.modules[name].named_parameters())
    return out


def taken_whole(
    to: LayerRecorder, name: str, rule: LayerRule, run: Callable[..., Any], args: tuple, kwargs: dict
) -> Tensor:
    """Run a module by code that is not looked into, and record what its rule says that it does.

    Raises
    ------
    TracingError
        Where the module's tensors and activations do not fit its rule.
    """
    out = run(*args, **kwargs)
    taken = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not isinstance(out, Tensor) or not taken:
        raise TracingError(f"a layer with a rule takes tensors and gives one; {name!r} gave {type(out).__name__}")
    inputs, outputs = _dim(name, "inputs", rule.inputs, taken[0]), _dim(name, "outputs", rule.outputs, out)
    _check_sizes(to, name, rule, taken[0].shape[inputs], out.shape[outputs])
    give_up(to, taken[1:], f"enters {name!r} beside its input")
    ids = entering(to, taken[0], inputs, name)
    area, channels = (out, out.shape[outputs]) if rule.applied == "output" else (taken[0], taken[0].shape[inputs])
    positions = area.numel() // channels // to.batch
    if rule.makes:
        known = to.known(name)
        made = torch.from_numpy(known.outputs) if known else to.new_labels(out.shape[outputs])
        layer = TracedLayer(name, "own", made.numpy(), ids.numpy(), positions=positions, rule=rule)
    else:
        made, layer = ids, TracedLayer(name, "own_each", ids.numpy(), positions=positions, rule=rule)
    if rule.tensors or rule.attributes:
        to.record(layer)
    for tensor in rule.tensors:
        full = full_name(name, tensor)
        if to.name_of(tensor_at(to.modules, full)) != full:
            to.freeze(torch.cat([ids, made]), f"{full!r} is another layer's too")
    to.put(out, laid(made, outputs, out.ndim))
    return out


def _dim(name: str, side: str, dim: int, tensor: Tensor) -> int:
    if not -tensor.ndim <= dim < tensor.ndim:
        raise TracingError(
            f"the rule of {name!r} says that its {side} have their channels along dimension {dim}; their shape is "
            f"{tuple(tensor.shape)}"
        )
    return dim % tensor.ndim


def _check_sizes(to: LayerRecorder, name: str, rule: LayerRule, inputs: int, outputs: int) -> None:
    """Raise a `TracingError` where tensors, attributes and activations have not as many channels as each other."""
    sizes = {"in": ("takes", inputs), "out": ("gives", outputs), "each": ("takes", inputs)}
    if not rule.makes and inputs != outputs:
        raise TracingError(f"by its rule {name!r} gives the channels that it takes; it takes {inputs}, gives {outputs}")
    for tensor, words in rule.tensors.items():
        shape = tensor_at(to.modules, full_name(name, tensor)).shape
        for dim, word in enumerate(words):
            if word is not None and shape[dim] != sizes[word][1]:
                raise TracingError(
                    f"the rule of {name!r} says that dimension {dim} of {tensor!r} {tuple(shape)} is {word!r}, but the "
                    f"layer {sizes[word][0]} {sizes[word][1]} channels"
                )
    for attribute, word in rule.attributes.items():
        if (count := getattr(to.modules[name], attribute)) != sizes[word][1]:
            raise TracingError(
                f"the rule of {name!r} says that its attribute {attribute!r}, {count}, is its number of {word!r} "
                f"channels, but the layer {sizes[word][0]} {sizes[word][1]}"
            )

"""Which numbers of a model's own modules could count channels: while tracing, each is an `Attribute`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from fpgmlab.common.modules import full_name
from fpgmlab.graph.tracing.attributes import Attribute, Owner

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def mark_attributes(modules: Mapping[str, nn.Module], owner: Owner) -> None:
    """Put an `Attribute` in place of each number of a user's own module that could be one of channels.

    These are all from 2 to as many as a layer has: also numbers of parts or heads, and places between parts.

    Parameters
    ----------
    modules : mapping
        All of a model, by name. Whoever calls this puts their attributes back.
    owner : Owner
    """
    parameters = [p for module in modules.values() for p in module._parameters.values() if p is not None]
    counts = range(2, max((size for parameter in parameters for size in parameter.shape[:2]), default=1) + 1)
    kinds = {kind: _is_layer(kind) for kind in {type(module) for module in modules.values()}}
    for path, module in modules.items():
        if kinds[type(module)]:
            continue
        for key, value in vars(module).items():  # no key is added
            vars(module)[key] = _marked(value, full_name(path, key), counts, owner)


def _is_layer(kind: type) -> bool:
    """Tell whether a class is one of torch's layers, whose own records surgery keeps right, or made of one."""
    return any(base.__module__.startswith("torch.") for base in kind.__mro__ if base not in _CONTAINERS)


def _marked(value: object, name: str, counts: range, owner: Owner) -> object:
    """Return what an attribute holds with its numbers marked: a list is the same one, which others may hold too."""
    if type(value) is int:
        return Attribute.of(value, name, -1, owner) if value in counts else value
    if not isinstance(value, (tuple, list)) or type(value) not in (tuple, torch.Size, list):
        return value
    places = [place for place, each in enumerate(value) if type(each) is int and each in counts]
    marked = value if isinstance(value, list) else list(value)
    for place in places:
        marked[place] = Attribute.of(value[place], name, place, owner)
    return type(value)(marked) if places and isinstance(value, tuple) else value

"""What a model holds beside its parameters, buffers and modules: containers in attributes, and those of its hooks."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType

import torch
from torch import Tensor, nn

_TABLES = ("_parameters", "_buffers", "_modules")
_MOST = 200_000  # objects looked at: an attribute may lead to a whole data set
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, torch.dtype, torch.device, torch.Size)

Container = dict | list | set | deque


def held(model: nn.Module) -> Iterator[object]:
    """Yield the containers and tensors that can be reached from a model's attributes and hooks, each once.

    Parameters
    ----------
    model : nn.Module
        Its tables of parameters, buffers and modules are left out; attributes of its modules' own objects are not.
    """
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    left = [
        value
        for module in modules
        for key, value in vars(module).items()
        if key not in _TABLES and (not key.endswith("_hooks") or value)  # most have none, in a dozen dicts each
    ]
    # The ids of what was seen stay good as long as the objects live, which lists made on the way would not.
    seen, kept = {id(module) for module in modules}, []
    while left and len(seen) < _MOST:
        value = left.pop()
        if isinstance(value, _PLAIN) or id(value) in seen:
            continue
        seen.add(id(value))
        kept.append(value)
        if isinstance(value, Container | Tensor):
            yield value
        left += _inside(value)


def _inside(value: object) -> list[object]:
    """Return what an object leads to."""
    if isinstance(value, Tensor | nn.Module):
        return []
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, FunctionType) and (value.__module__ or "").startswith("fpgmlab."):
        return []  # our own hooks note what is to stay
    if isinstance(value, FunctionType):  # a hook, and what it closes over
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        return [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    attributes = getattr(value, "__dict__", None)
    return [attributes] if isinstance(attributes, dict) else []


def _is_full(cell: object) -> bool:
    try:
        return bool(cell.cell_contents is not None)  # type: ignore[attr-defined]
    except ValueError:  # not filled yet
        return False


def keeping(model: nn.Module) -> Callable[[], None]:
    """Return a function that puts the contents of a model's containers back to what they are now."""
    containers = [value for value in held(model) if isinstance(value, Container)]
    before = [(value, dict(value) if isinstance(value, dict) else list(value)) for value in containers]

    def restore() -> None:
        for value, content in before:
            if _same(value, content):  # some refuse to be written to
                continue
            if isinstance(value, list):
                value[:] = content
                continue
            value.clear()
            if isinstance(value, dict | set):
                value.update(content)
            else:
                value.extend(content)

    return restore


def _same(value: Container, content: dict | list) -> bool:
    """Tell whether a container holds the very same objects in the same order."""
    if len(value) != len(content):
        return False
    pairs = list(zip(value, content, strict=True))
    if isinstance(value, dict) and isinstance(content, dict):
        pairs += zip(value.values(), content.values(), strict=True)
    return all(mine is its for mine, its in pairs)


def copy_of(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model, also of one that still holds tensors of its last training step."""
    return copy.deepcopy(model, numbers_alone(model))


def numbers_alone(model: nn.Module) -> dict[int, object]:
    """Return copies of a model's tensors that belong to a graph of gradients, which cannot be copied: a memo."""
    ours = [tensor for tensor in held(model) if isinstance(tensor, Tensor) and not tensor.is_leaf]
    return {id(tensor): tensor.detach().clone() for tensor in ours}

"""Numbers that remember which attribute of a module holds them.

``assert x.shape[1] == self.channels`` and ``gamma.view(self.shape)`` with numbers of a user's own module: where such a
number does nothing but say how many channels there are, a cut writes the new number into the attribute. While tracing,
whole numbers in attributes (alone or in a tuple) that could count channels are `Attribute` objects, so that it shows
what else is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Listener(Protocol):
    """Who is told what a model's code does with numbers."""

    def relied_on(self, ids: np.ndarray, reason: str) -> None: ...
    def matched(self, ids: np.ndarray, others: np.ndarray) -> None: ...
    def counted(self, ids: np.ndarray, attribute: Attribute) -> bool: ...
    def spent(self, attribute: Attribute, use: str) -> None: ...


class Owner:
    """The trace that widths and attributes belong to, as long as it runs.

    Parameters
    ----------
    listener : Listener
    as_numbers : bool
        Whether a width, as a key, is found where its number is.
    """

    def __init__(self, listener: Listener, as_numbers: bool = False) -> None:
        self._listener: Listener | None = listener
        self.as_numbers = as_numbers

    def tell(self, ids: np.ndarray, reason: str) -> None:
        """Freeze channels; nothing after the trace has ended."""
        if self._listener is not None:
            self._listener.relied_on(ids, reason)

    def match(self, ids: np.ndarray, others: np.ndarray) -> None:
        """Note that the code was told that there are as many channels as others."""
        if self._listener is not None and not np.array_equal(ids, others):
            self._listener.matched(ids, others)

    def count(self, ids: np.ndarray, attribute: Attribute) -> bool:
        """Note that an attribute holds the number of some channels; return whether it can."""
        return self._listener is not None and attribute.owner is self and self._listener.counted(ids, attribute)

    def spend(self, attribute: Attribute, use: str) -> None:
        """Note that something else is done with an attribute's number."""
        if self._listener is not None:
            self._listener.spent(attribute, use)

    def close(self) -> None:
        """Let go of the trace: caches of others may keep its numbers for long."""
        self._listener = None


class Attribute(int):
    """An int with the name of the attribute that holds it, its place there if that is a tuple, and whom to tell."""

    name: str
    place: int
    owner: Owner

    @classmethod
    def of(cls, value: int, name: str, place: int, owner: Owner) -> Attribute:
        """Return ``value`` as what the attribute ``name`` holds; ``place`` is -1 for a number alone."""
        number = cls(value)
        number.name, number.place, number.owner = name, place, owner
        return number

    def __copy__(self) -> Attribute:
        return self

    def __deepcopy__(self, memo: dict) -> Attribute:
        return self

    def __reduce__(self) -> tuple:
        return int, (int.__add__(self, 0),)


def _enters(name: str) -> Callable[..., Any]:
    """A calculation with the number, which would be another one after a cut."""
    plain = getattr(int, name)

    def method(self: Attribute, *others: Any) -> Any:
        if name in {"__eq__", "__ne__"} and hasattr(others[0], "ids"):
            return getattr(others[0], name)(self)  # a width, which knows what its attribute is
        if name not in _COMPARISONS or type(others[0]) is not int or others[0] not in (0, 1):
            self.owner.spend(self, "a calculation")
        return plain(self, *others)

    return method


_COMPARISONS = [f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")]
_ARITHMETIC = ("add", "sub", "mul", "floordiv", "mod", "truediv", "pow", "divmod")
for _name in (*_ARITHMETIC, *(f"r{name}" for name in _ARITHMETIC), "lshift", "rshift", "and", "or", "float", "neg"):
    setattr(Attribute, f"__{_name}__", _enters(f"__{_name}__"))
for _name in _COMPARISONS:
    setattr(Attribute, _name, _enters(_name))


def mark_attributes(modules: Mapping[str, nn.Module], owner: Owner) -> None:
    """Put an `Attribute` in place of each number of a user's own module that could be one of channels.

    Parameters
    ----------
    modules : mapping
        All of a model, by name. Whoever calls this puts their attributes back.
    owner : Owner
    """
    parameters = [p for module in modules.values() for p in module._parameters.values() if p is not None]
    counts = {size for parameter in parameters for size in parameter.shape[:2] if size > 1}
    kinds = {kind: _is_layer(kind) for kind in {type(module) for module in modules.values()}}
    for path, module in modules.items():
        if kinds[type(module)]:
            continue
        for key, value in vars(module).items():  # no key is added
            vars(module)[key] = _marked(value, f"{path}.{key}" if path else key, counts, owner)


def _is_layer(kind: type) -> bool:
    """Tell whether a class is one of torch's layers, whose own records surgery keeps right, or made of one."""
    return any(base.__module__.startswith("torch.") for base in kind.__mro__ if base not in _CONTAINERS)


def _may_count(value: int, counts: set[int]) -> bool:
    """Tell whether a number could be one of channels, or of rows of them, such as attention heads."""
    return value in counts or (value > 1 and any(count % value == 0 for count in counts))


def _marked(value: object, name: str, counts: set[int], owner: Owner) -> object:
    if type(value) is int:
        return Attribute.of(value, name, -1, owner) if _may_count(value, counts) else value
    if isinstance(value, tuple) and type(value) in (tuple, torch.Size):
        places = [place for place, each in enumerate(value) if type(each) is int and _may_count(each, counts)]
        if places:
            marked = list(value)
            for place in places:
                marked[place] = Attribute.of(value[place], name, place, owner)
            return type(value)(marked)
    return value

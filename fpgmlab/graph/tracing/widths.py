"""Numbers that remember that they are a number of channels.

A model's code may read ``x.shape[1]`` and build on it: heads of an attention, a scale, another tensor. Such a number
would be smaller after pruning. While tracing, the sizes of labelled dimensions are `Width` objects, so that it
shows where they go. Some code keeps what it once worked out for a shape (einops, ``functools.lru_cache``): a width is
therefore no key that any other number would find, and after its trace an ordinary number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpgmlab.graph.tracing.attributes import Attribute, Owner


class Width(int):
    """An int with the labels of the channels that it counts, and whom to tell when a calculation relies on it.

    ``x.shape[-1] // self.heads`` is a width of the same channels, and ``by`` the attribute that it was divided by: who
    takes the width for anything but a number of channels for each of ``by`` spends it (``to.spend([width], use)``).
    """

    ids: np.ndarray
    owner: Owner
    by: Attribute | None

    @classmethod
    def of(cls, value: int, ids: np.ndarray, owner: Owner, by: Attribute | None = None) -> Width:
        """Return ``value`` as the number of the channels ``ids``, for each of ``by``."""
        width = cls(value)
        width.ids, width.owner, width.by = ids, owner, by
        return width

    def tell(self, ids: np.ndarray, reason: str) -> None:
        """Say that a calculation relies on channels."""
        self.owner.tell(ids, reason)

    def wait(self, reason: str) -> bool:
        """Say that a calculation relies on the size of each of ``by``; return whether there is one."""
        if self.by is not None:
            self.owner.wait(self, reason)
        return self.by is not None

    def __hash__(self) -> int:
        if self.owner.as_numbers:
            return int.__hash__(self)
        return hash((int.__hash__(self), id(self.owner), self.ids.tobytes()))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        self.tell(self.ids, "its number of channels enters a calculation")
        return getattr(ufunc, method)(*(int.__add__(n, 0) if isinstance(n, Width) else n for n in inputs), **kwargs)

    def __copy__(self) -> Width:
        return self

    def __deepcopy__(self, memo: dict) -> Width:
        return self


def _whole(name: str) -> Callable[[Width, Any], Any]:
    """A calculation that is proportional to the number of channels gives a width again; any other relies on it."""
    plain = getattr(int, name)

    def method(self: Width, other: Any) -> Any:
        value = plain(self, other)
        if (
            name == "__floordiv__"
            and isinstance(other, Attribute)
            and self.by is None
            and _proportional(name, self, other)
        ):
            return Width.of(value, self.ids, self.owner, by=other)
        if not _proportional(name, self, other) and self.wait("its number of channels enters a calculation"):
            return value
        _spend(self, other)
        if not _proportional(name, self, other):
            self.tell(self.ids, "its number of channels enters a calculation")
            return value
        ids = np.concatenate([self.ids, other.ids]) if isinstance(other, Width) else self.ids
        return Width.of(value, ids, self.owner)

    return method


def _spend(*others: Any) -> None:
    for other in others:
        attribute = other.by if isinstance(other, Width) else other
        if isinstance(attribute, Attribute):
            attribute.owner.spend(attribute, "a calculation")


def _counted(width: Width, attribute: Attribute) -> bool:
    """Tell whether an attribute holds this very width, so that a cut can write the new one there."""
    return int.__eq__(width, attribute) and width.owner.count(width.ids, attribute)


def _matched(width: Width, other: Width) -> None:
    """Note that there are as many channels as others, which a cut must not change: a branch may depend on it."""
    if int.__eq__(width, other) and other.owner is width.owner:
        width.owner.match(width.ids, other.ids)


def _proportional(name: str, width: Width, other: Any) -> bool:
    if not isinstance(other, int):
        return False
    if name.strip("_") in {"mul", "rmul"}:
        return not isinstance(other, Width)
    if name == "__floordiv__":
        return not isinstance(other, Width) and int.__mod__(width, other) == 0
    return name.strip("_") in {"add", "radd"} and (isinstance(other, Width) or other == 0)


def _relies(name: str, reason: str, harmless: Callable[[Any], bool] = lambda other: False) -> Callable[..., Any]:
    """A calculation whose result depends on the number itself."""
    plain = getattr(int, name)

    def method(self: Width, *others: Any) -> Any:
        # torch's own layers compare with their records, which surgery keeps right.
        by_torch = sys._getframe(1).f_globals.get("__name__", "").startswith("torch.nn.modules.")
        if by_torch or any(harmless(other) for other in others):
            if not by_torch and isinstance(others[0], Width):
                _matched(self, others[0])
            return plain(self, *others)
        if self.wait(reason):
            _spend(*others)
        elif not (name in {"__eq__", "__ne__"} and isinstance(others[0], Attribute) and _counted(self, others[0])):
            _spend(self, *others)
            self.tell(self.ids, reason)
        return plain(self, *others)

    return method


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Width, f"__{_name}__", _whole(f"__{_name}__"))
    setattr(Width, f"__r{_name}__", _whole(f"__r{_name}__"))
for _name in (
    "truediv",
    "rtruediv",
    "pow",
    "rpow",
    "float",
    "int",
    "divmod",
    "rdivmod",
    "lshift",
    "rshift",
    "and",
    "or",
):
    setattr(Width, f"__{_name}__", _relies(f"__{_name}__", "its number of channels enters a calculation"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _method = _relies(
        f"__{_name}__",
        "its number of channels is compared with a fixed one",
        harmless=lambda other: isinstance(other, Width) or other in (0, 1),
    )
    setattr(Width, f"__{_name}__", _method)


def numbers_in(values: Iterable[object]) -> Iterator[Width | Attribute]:
    """Yield the numbers among some values that remember something, also those that stand in slices."""
    for value in values:
        for each in (value.start, value.stop, value.step) if isinstance(value, slice) else (value,):
            if isinstance(each, (Width, Attribute)):
                yield each


def unmarked(value: object, owner: Owner | None) -> object:
    """Return a number of another trace (without an owner: of any) as an ordinary one, also in a slice."""
    if isinstance(value, slice):
        return slice(*(unmarked(each, owner) for each in (value.start, value.stop, value.step)))
    if isinstance(value, (Width, Attribute)) and value.owner is not owner:
        return int.__add__(value, 0)
    return value


def with_widths(sizes: torch.Size, label: Tensor, ids: np.ndarray, owner: Owner) -> torch.Size:
    """Return a tensor's shape with the sizes of the dimensions that its label changes along as widths."""
    return torch.Size([Width.of(n, ids, owner) if label.size(dim) > 1 else n for dim, n in enumerate(sizes)])

"""Numbers that remember that they are a number of channels.

A model's code may read ``x.shape[1]`` and build on it: heads of an attention, a scale, another tensor. Such a number
would be smaller after pruning. While tracing, the sizes of labelled dimensions are `Width` objects, so that it
shows where they go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Width(int):
    """An int with the labels of the channels that it counts, and whom to tell when a calculation relies on it."""

    label: Tensor
    tell: Callable[[Tensor, str], None]

    @classmethod
    def of(cls, value: int, label: Tensor, tell: Callable[[Tensor, str], None]) -> Width:
        """Return ``value`` as the number of the channels ``label``; ``tell(label, reason)`` freezes them."""
        width = cls(value)
        width.label, width.tell = label, tell
        return width

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __copy__(self) -> Width:
        return self

    def __deepcopy__(self, memo: dict) -> Width:
        return self


def _whole(name: str) -> Callable[[Width, Any], Any]:
    """A calculation within whole numbers gives a width again."""
    plain = getattr(int, name)

    def method(self: Width, other: Any) -> Any:
        value = plain(self, other)
        if not isinstance(value, int):
            return value
        label = torch.cat([self.label, other.label]) if isinstance(other, Width) else self.label
        return Width.of(value, label, self.tell)

    return method


def _relies(name: str, reason: str) -> Callable[..., Any]:
    """A calculation whose result depends on the number itself."""
    plain = getattr(int, name)

    def method(self: Width, *others: Any) -> Any:
        if not any(isinstance(other, Width) or other in (0, 1) for other in others):
            self.tell(self.label, reason)
        return plain(self, *others)

    return method


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Width, f"__{_name}__", _whole(f"__{_name}__"))
    setattr(Width, f"__r{_name}__", _whole(f"__r{_name}__"))
for _name in ("truediv", "rtruediv", "pow", "rpow", "float"):
    setattr(Width, f"__{_name}__", _relies(f"__{_name}__", "its number of channels enters a calculation"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Width, f"__{_name}__", _relies(f"__{_name}__", "its number of channels is compared with a fixed one"))


def widths_in(leaves: list[object]) -> list[Width]:
    """Return the widths among the leaves of a call's arguments."""
    return [leaf for leaf in leaves if isinstance(leaf, Width)]


def with_widths(sizes: torch.Size, label: Tensor, tell: Callable[[Tensor, str], None]) -> torch.Size:
    """Return a tensor's shape with the sizes of the dimensions that its label changes along as widths."""
    counted = label[label > 0].unique()
    return torch.Size(
        [Width.of(n, counted, tell) if label.size(dim) > 1 else n for dim, n in enumerate(sizes)]
    )

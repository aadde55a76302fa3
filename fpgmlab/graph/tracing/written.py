"""What a forward pass writes into a model's own tensors, also where no version of theirs tells of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Held:
    """Copies of tensors that a model's code is about to write into, or asks for without their history."""

    def __init__(self) -> None:
        self._copies: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Keep what a tensor of the model holds before its code works with it."""
        if name not in self._copies and not tensor.is_meta:
            self._copies[name] = (tensor, tensor.detach().clone())

    def written(self) -> set[str]:
        """Return the names of the tensors that hold something else than they did."""
        return {
            name
            for name, (tensor, copy) in self._copies.items()
            if (tensor.shape, tensor.dtype) != (copy.shape, copy.dtype) or not torch.equal(tensor, copy)
        }

    def close(self) -> None:
        """Write back what they held."""
        with torch.no_grad():
            for name in self.written():
                tensor, copy = self._copies[name]
                tensor.copy_(copy)


def may_write(name: str, func: Callable) -> bool:
    """Tell whether a torch function writes into the tensor that it is given, or lets others do so unseen."""
    full = getattr(func, "__name__", "")
    return name in {"data", "detach"} or full == "__setitem__" or (full.endswith("_") and not full.endswith("__"))

"""Tensors put aside: in memory as far as they may, beyond that in files."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor


class Shelf:
    """Keeps tensors by a key; the files, if any, are gone when the context ends.

    Parameters
    ----------
    memory : float
        Bytes that may be kept in memory.
    """

    def __init__(self, memory: float) -> None:
        self.left = memory
        self._there: dict[Hashable, Tensor] = {}
        self._files: dict[Hashable, tuple[Path, torch.device]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> Shelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def put(self, key: Hashable, tensor: Tensor) -> None:
        """Put a tensor aside, one for each key."""
        if tensor.nbytes <= self.left:
            self.left -= tensor.nbytes
            self._there[key] = tensor
            return
        if self._folder is None:
            # At Python's end a thread may still be putting something there; no traceback shall tell of that.
            self._folder = tempfile.TemporaryDirectory(prefix="fpgmlab-", ignore_cleanup_errors=True)
        path = Path(self._folder.name) / f"{self._count}.pt"
        self._count += 1
        torch.save(tensor.cpu(), path)
        self._files[key] = (path, tensor.device)

    def look(self, key: Hashable) -> Tensor:
        """Return what was put aside under a key; it stays here."""
        if key in self._there:
            return self._there[key]
        path, device = self._files[key]
        return torch.load(path, weights_only=True).to(device)

    def take(self, key: Hashable) -> Tensor:
        """Return what was put aside under a key; it is not here any more then."""
        if key in self._there:
            tensor = self._there.pop(key)
            self.left += tensor.nbytes
            return tensor
        path, device = self._files.pop(key)
        tensor = torch.load(path, weights_only=True).to(device)
        path.unlink()
        return tensor

"""Which module of a model is running, and the how manieth call of an operation it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn


class Place(NamedTuple):
    """Where a model's code calls an operation: the same each time that it runs.

    ``module`` is the innermost module that is running, ``number`` counts the calls of this ``operation`` that its own
    code makes each time it runs, from 0.
    """

    module: str
    operation: str
    number: int

    def __str__(self) -> str:
        return f"{self.operation!r} in {self.module!r}" if self.module else repr(self.operation)


class Running:
    """The modules that are running, the innermost last, by name; empty outside of the model.

    Attributes
    ----------
    names : list of str
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._calls: list[Counter[str]] = []

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Follow a model's modules while the context lasts."""
        handles = []
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> None:
        if not name:
            self.clear()  # what an exception has left
        self.names.append(name)
        self._calls.append(Counter())

    def _leave(self, *_: object) -> None:
        self.names.pop()
        self._calls.pop()

    def clear(self) -> None:
        """Forget what was running: an exception leaves it as it was."""
        self.names.clear()
        self._calls.clear()

    def place(self, operation: str) -> Place | None:
        """Count a call of an operation and return where it is; None outside of the model."""
        if not self.names:
            return None
        calls = self._calls[-1]
        calls[operation] += 1
        return Place(self.names[-1], operation, calls[operation] - 1)

"""What `fit` asks of an extra."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Extra(Protocol):
    """What `fit` asks of an extra: subclass it and override what it does, each other call does nothing.

    An object with the same three methods is an extra without that.
    """

    def loss(self, model: nn.Module, inputs: Any, outputs: Any, targets: Any) -> Tensor | float:
        """Return a term to add to the task's loss of this batch."""
        return 0.0

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act on the gradients before the optimizer's step number ``step`` of ``steps`` (from 1)."""
        return None

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act on the weights after the optimizer's step number ``step`` of ``steps`` (from 1)."""
        return None

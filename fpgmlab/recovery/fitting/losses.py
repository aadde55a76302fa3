"""The losses of an epoch: their mean, and the first that is none."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EVERY = 10  # steps after which they are fetched from a GPU, which waits for them


class Losses:
    """The losses of the steps of an epoch.

    Parameters
    ----------
    every : int
        After how many steps they are looked at.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._new: list[Tensor] = []
        self._seen = 0
        self._sum = 0.0

    @property
    def mean(self) -> float:
        """Of all that have been looked at."""
        return self._sum / max(1, self._seen)

    def add(self, loss: Tensor) -> tuple[int, float] | None:
        """Add a step's loss; return step (from 1) and value of the first that is NaN or infinite, once it is found."""
        self._new.append(loss)
        return self.look() if len(self._new) >= self._every else None

    def look(self) -> tuple[int, float] | None:
        """Look at those that are new."""
        values = torch.stack(self._new).tolist() if self._new else []
        self._new.clear()
        for value in values:
            self._seen += 1
            self._sum += value
            if not math.isfinite(value):
                return self._seen, value
        return None

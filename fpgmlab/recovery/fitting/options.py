"""The options of a training, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from fpgmlab.common.numbers import whole_number
from fpgmlab.errors import one_of

ALLOWED = {
    "optimizer": ("sgd", "adamw"),
    "amp": ("auto", "off", "bfloat16", "float16"),
    "keep": ("best", "last"),
}


@dataclass(frozen=True)
class Options:
    """What decides a training's result, beside network, task and extras; the names are those of `fpgmlab.fit`."""

    epochs: int
    lr: float
    optimizer: str
    weight_decay: float
    batch_size: int
    accumulate: int
    seed: int
    amp: str
    keep: str

    def __post_init__(self) -> None:
        whole_number("epochs", self.epochs)
        if not (isinstance(self.lr, Real) and self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr must be a positive number; got {self.lr!r}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2 (batch norm); got {self.batch_size}")
        if not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise ValueError(f"accumulate must be a whole number of batches, 1 or more; got {self.accumulate!r}")
        for name, allowed in ALLOWED.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(one_of(name, value, allowed))

    @property
    def step_size(self) -> int:
        """How many examples a step takes."""
        return self.batch_size * self.accumulate

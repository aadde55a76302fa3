"""The weights that a training keeps: those of the best epoch, if none were better before it, or of the last."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from fpgmlab.tasks.task import Task

Values = Mapping[str, float]


class Keeping:
    """What is kept so far.

    Parameters
    ----------
    model : nn.Module
        Before the training; its weights are kept until there are better ones.
    task : Task
        Says which metric decides, and whether more is better.
    keep : {"best", "last"}

    Attributes
    ----------
    weights : dict
        A state of the model.
    epoch : int
        Whose weights they are, 0 for those from before the training.
    began : dict
        What those from before were measured at, where they compete; else empty.
    """

    def __init__(self, model: nn.Module, task: Task, keep: str) -> None:
        self.weights: Mapping[str, Any] = copy.deepcopy(model.state_dict())
        self.epoch = 0
        self.began: dict[str, float] = {}
        self._task, self._last = task, keep == "last"
        self._best: float | None = None  # more is better

    def begin(self, found: Values) -> None:
        """Let the weights from before compete: they were measured at ``found``."""
        self.began = {name: found[name] for name in ("loss", self._task.metric_name)}
        value = self._value(found)
        self._best = None if math.isnan(value) else value

    def offer(self, found: Values, model: nn.Module, epoch: int) -> None:
        """Take the weights of an epoch when they are the better ones; as good as those from before is enough."""
        value = self._value(found)
        equal = value == self._best and not self.epoch
        if self._last or self._best is None or value > self._best or equal:
            self.weights, self.epoch, self._best = copy.deepcopy(model.state_dict()), epoch, value

    @property
    def measured(self) -> bool:
        """Whether the weights are known to be worth keeping when a training ends early."""
        return self.epoch > 0 or bool(self.began)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"kept": self.epoch, "best": self._best, "good": self.weights, "began": self.began}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint holds."""
        self.epoch, self._best, self.weights = state["kept"], state["best"], state["good"]
        self.began = state.get("began", {})  # older ones have none

    def _value(self, found: Values) -> float:
        value = found[self._task.metric_name]
        return value if self._task.higher_is_better else -value

"""An end before the last epoch, when nothing gets better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from fpgmlab.recovery.extras.extra import Extra, RunningExtra
from fpgmlab.tasks.task import Task


@dataclass(frozen=True)
class EarlyStop(Extra):
    """End the training when the validation metric has not got better for some epochs.

    The learning rate falls along its half cosine to the last of the epochs that were asked for, as without it: what
    ends early has not had its small learning rates.

    Parameters
    ----------
    patience : int
        Epochs in a row without a better value after which it ends.
    min_delta : float
        How much better than the best before a value must be to count; in units of the task's metric.

    Raises
    ------
    ValueError
        For numbers out of range.
    """

    patience: int = 3
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch; got {self.patience}")
        if not self.min_delta >= 0:
            raise ValueError(f"min_delta must be >= 0; got {self.min_delta}")

    def begin(self, model: nn.Module, task: Task, epochs: int, steps: int) -> RunningExtra:
        """Return the count of one training.

        Parameters
        ----------
        model, task, epochs, steps
            As of `fpgmlab.recovery.Extra`.
        """
        return _Waiting(self, task)


class _Waiting(RunningExtra):
    def __init__(self, options: EarlyStop, task: Task) -> None:
        self._options, self._metric = options, task.metric_name
        self._sign = 1 if task.higher_is_better else -1
        self._best: float | None = None
        self._waited = 0

    def after_epoch(self, model: nn.Module, row: Mapping[str, float]) -> bool:
        value = self._sign * row[self._metric]
        if self._best is None or value > self._best + self._options.min_delta:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self._options.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best, self._waited = state["best"], state["waited"]

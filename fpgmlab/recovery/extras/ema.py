"""A moving average of the weights, judged and kept in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fpgmlab.recovery.extras.extra import Extra, RunningExtra
from fpgmlab.tasks.task import Task


@dataclass(frozen=True)
class EMA(Extra):
    """Judge and keep, in place of the weights and batch norms' statistics, their exponential moving average.

    After each step ``average = decay * average + (1 - decay) * weights``, from the weights after the first one
    (Polyak & Juditsky, *SIAM J. Control Optim.* 30, 1992, doi:10.1137/0330046; 0.9999 in YOLOv5). It needs a few times
    ``1 / (1 - decay)`` steps. Of several extras the last: it takes the weights as those before it left them.

    Parameters
    ----------
    decay : float
        0 < decay < 1.

    Raises
    ------
    ValueError
        For a decay out of range.
    """

    decay: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"decay must be greater than 0 and less than 1, such as 0.99; got {self.decay}")

    def begin(self, model: nn.Module, task: Task, epochs: int, steps: int) -> RunningExtra:
        """Return the average of one training.

        Parameters
        ----------
        model, task, epochs, steps
            As of `fpgmlab.recovery.Extra`.
        """
        return _Averaging(model, self.decay)


class _Averaging(RunningExtra):
    def __init__(self, model: nn.Module, decay: float) -> None:
        self._averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    def judged(self, model: nn.Module) -> nn.Module:
        return self._averaged.module

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        return self._averaged.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._averaged.load_state_dict(state)

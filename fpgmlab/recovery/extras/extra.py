"""What `fit` asks of an extra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fpgmlab.errors import shown
from fpgmlab.tasks.task import Task


class Extra(Protocol):
    """What `fit` asks of an extra: subclass it and override what it does, each other call does nothing.

    An object with the same three methods is an extra without that. It may have those of `RunningExtra` as well, which
    are looked for by name, and

    ``begin(model, task, epochs, steps) -> RunningExtra``
        Called once before the first of ``steps`` steps; what it returns is asked in its place. An extra whose fields
        are options and nothing else keeps there what belongs to one training. What does not fit is told here, before
        anything is trained.
    """

    def loss(self, model: nn.Module, inputs: Any, outputs: Any, targets: Any) -> Tensor | float:
        """Return a term to add to the task's loss of this batch.

        Parameters
        ----------
        model : nn.Module
            In training mode.
        inputs, outputs, targets : object
            Of the batch, as the task gives them and the model has answered.

        Returns
        -------
        Tensor or float
            A scalar.
        """
        return 0.0

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act on the gradients before a step of the optimizer.

        Parameters
        ----------
        model : nn.Module
        step, steps : int
            The number of the step, from 1, and how many there are in all.
        """
        return None

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act on the weights after a step of the optimizer.

        Parameters
        ----------
        model, step, steps
            As of `before_step`.
        """
        return None


class RunningExtra(Extra):
    """An extra in a training: all that `fit` asks, in this order. Each call that is not overridden does nothing."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return what is trained beside the model, such as adapters; asked once, after ``begin``."""
        return ()

    def optimized_by(self, optimizer: torch.optim.Optimizer) -> None:
        """Know the optimizer, whose learning rates are those of the next step before it is made; told once."""
        return None

    def judged(self, model: nn.Module) -> nn.Module | None:
        """Return what is evaluated and kept in place of the model; asked once, after ``begin``. None: the model.

        It has the names and shapes of the model's state.
        """
        return None

    def leads_elsewhere(self) -> bool:
        """Return True when weights that it has not worked on are no result, such as of a training for sparsity.

        ``keep="best"`` chooses among the epochs alone then; asked once.
        """
        return False

    def before_judging(self, model: nn.Module, judged: nn.Module) -> None:
        """Act at the end of an epoch on the weights of the model and of what is judged; they may be the same."""
        return None

    def after_epoch(self, model: nn.Module, row: Mapping[str, float]) -> bool | None:
        """Return True to end the training of the model after this epoch, whose row of the history this is."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on later needs: tensors, numbers, lists and dicts of these."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; called after ``begin`` and before the first step."""
        return None

    def end(self) -> None:
        """Leave the model as it was, without hooks; always called, also after an exception and after Ctrl-C."""
        return None


class _ByName(RunningExtra):
    """An extra without ``begin``: its own methods where it has them, nothing for the others."""

    def __init__(self, extra: Extra) -> None:
        for name in CALLS:
            if (method := getattr(extra, name, None)) is not None:
                setattr(self, name, method)


CALLS = [name for kind in (Extra, RunningExtra) for name in vars(kind) if not name.startswith("_")]


def check_extras(extras: object) -> None:
    """Raise a `TypeError` for what would do nothing as an extra: a name, a class, an object without the methods."""
    if isinstance(extras, str) or not isinstance(extras, Sequence):
        raise TypeError(f"extras must be a list, such as [fl.EMA(0.99)]; got {shown(extras)}")
    for extra in extras:
        if isinstance(extra, type):
            raise TypeError(f"extras must be objects: {extra.__name__}(...), not the class itself")
        if not any(callable(getattr(extra, name, None)) for name in ("begin", *CALLS)):
            raise TypeError(
                f"extras must be objects with some of the methods of fpgmlab.recovery.Extra, such as fl.EMA(0.99) or "
                f"fl.Distill(teacher); got {shown(extra)}"
            )


@contextmanager
def begun(
    extras: Sequence[Extra], model: nn.Module, task: Task, epochs: int, steps: int
) -> Iterator[list[RunningExtra]]:
    """Begin extras in their order, and end them, the last first, however the training ends.

    Parameters
    ----------
    extras : sequence of Extra
    model : nn.Module
        As it is, not compiled.
    task : task
    epochs, steps : int
        Of the whole training; in each epoch ``steps / epochs``.
    """
    with ExitStack() as ending:
        running = []
        for extra in extras:
            begin = getattr(extra, "begin", None)
            now: RunningExtra = _ByName(extra) if begin is None else begin(model, task, epochs, steps)
            ending.callback(now.end)
            running.append(now)
        yield running


def judged_of(extras: Sequence[RunningExtra], model: nn.Module) -> nn.Module:
    """Return what is evaluated and kept: what an extra gives in place of the model, else the model."""
    found = [judged for extra in extras if (judged := extra.judged(model)) is not None]
    if len(found) > 1:
        raise ValueError(f"{len(found)} of the extras want another network judged in place of the model: only one can")
    return found[0] if found else model

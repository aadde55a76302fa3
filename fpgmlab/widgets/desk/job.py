"""One piece of work in a thread of its own, and what it has to show meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from fpgmlab.common.batches import examples_in
from fpgmlab.plans.plan import Plan
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.pace import Pace, duration
from fpgmlab.widgets.common.turns import Turn, give_back_memory
from fpgmlab.widgets.common.worker import Worker

Result = TypeVar("Result")
# Who goes first where a class shares the cores: see `Turn`.
RANKS = {"evaluate": 1, "prune": 1, "repair": 2, "export": 2, "fine-tune": 4}


class Cancelled(KeyboardInterrupt):
    """The work was asked to end: training takes it for Ctrl-C."""


@dataclass(frozen=True)
class Made:
    """A pruned network.

    Attributes
    ----------
    model : nn.Module
    plan : Plan
    epochs : int
        Of its fine-tuning so far.
    repaired : bool
        Whether its weights were refitted before that.
    """

    model: nn.Module
    plan: Plan
    epochs: int = 0
    repaired: bool = False

    @property
    def words(self) -> str:
        """What was done to recover it."""
        if not self.epochs:
            return "repaired and not fine-tuned" if self.repaired else "neither repaired nor fine-tuned"
        tuned = f"fine-tuned for {epochs_words(self.epochs)}"
        return f"repaired and {tuned}" if self.repaired else tuned


def epochs_words(epochs: int) -> str:
    """Return a number of epochs in words."""
    return f"{epochs} epoch{'s' if epochs > 1 else ''}"


class LossTrace:
    """The loss by step, thinned to what a chart can show: neighbours become their mean.

    Parameters
    ----------
    most : int
        Points are joined in pairs when there are so many; even.

    Attributes
    ----------
    points : list of [int, float]
        The last step of each point, and the mean loss.
    """

    def __init__(self, most: int = 400) -> None:
        self.points: list[list[float]] = []
        self._most, self._each = most, 1  # steps in a point
        self._sum, self._count = 0.0, 0

    def add(self, step: int, loss: float) -> None:
        """Take down the loss of the next step."""
        self._sum += loss
        self._count += 1
        if self._count < self._each:
            return
        self.points = [*self.points, [step, self._sum / self._each]]
        self._sum, self._count = 0.0, 0
        if len(self.points) == self._most:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [[step, (before + loss) / 2] for (_, before), (step, loss) in pairs]
            self._each *= 2


class Job(Worker):
    """One piece of work.

    Parameters
    ----------
    kind : str
        Such as "evaluate".
    on_update : callable
        Called in the thread when there is more to show, at most every ``interval`` seconds.
    interval : float
        Seconds.

    Attributes
    ----------
    words : str
        How far it is.
    share : float
        The same as a share of the work, 0 to 1.
    trace : LossTrace
    epochs : list of dict
        Finished rows of a training's history.
    steps : int
        How many a training will have in all.
    made : Made or None
        The newest network that it made; good, whatever becomes of the job.
    """

    def __init__(self, kind: str, on_update: Callable[[], None], interval: float = 0.25) -> None:
        super().__init__(kind)
        self.kind, self.words, self.share = kind, "", 0.0
        self.trace, self.steps = LossTrace(), 0
        self.epochs: list[dict[str, float]] = []
        self.made: Made | None = None
        self._on_update, self._interval = on_update, interval
        self._told, self._pace = float("-inf"), Pace()
        self._turn = Turn(RANKS.get(kind, 4), self._end_if_asked, self._waits)

    def start(self, do: Callable[[], Result], on_end: Callable[[Result | None, BaseException | None], None]) -> None:
        """Do it in a thread, which ends with a call of ``on_end``: the result or None, and the error or None."""

        def work() -> None:
            result, error = None, None
            try:
                with self._turn:
                    result = do()
            except Cancelled:
                pass
            except BaseException as caught:  # nobody else would hear of it: networks and data sets raise what they like
                error = caught
            give_back_memory()
            on_end(result, error)

        self.begin(work)

    def check(self) -> None:
        """Raise `Cancelled` when it was asked to end; let others of a class go first who are more urgent."""
        self._end_if_asked()
        self._turn.pass_on()

    def tell(self, words: str, done: float, total: float, *, at_once: bool = False) -> None:
        """Say how far it is, in words and as so much of the work.

        Parameters
        ----------
        words : str
        done, total : float
            In a unit that takes the same time throughout.
        at_once : bool
            Whatever was said a moment ago.
        """
        if self.thread is threading.current_thread():  # repairing tells from other threads as well
            self._turn.pass_on()
        now = time.monotonic()
        if now - self._told < self._interval and not at_once:
            return
        self._told = now
        self._pace.note(now, done)
        left = self._pace.seconds_left(now, total - done)
        self.words = words + ("." if left is None else f"; {duration(left)} left.")
        self.share = min(1.0, done / total)
        self._on_update()

    def _end_if_asked(self) -> None:
        if self.stopping:
            raise Cancelled

    def _waits(self) -> None:
        self.words, self._told = "Waiting: others of the class are being served.", float("-inf")
        self._on_update()


class Watched:
    """A task that says before each batch of validation data how many samples are through.

    Parameters
    ----------
    task : task
    on_batch : callable
        Called with the number of samples; may raise an exception.
    """

    def __init__(self, task: Task, on_batch: Callable[[int], None]) -> None:
        self._task, self._on_batch = task, on_batch

    def __getattr__(self, name: str) -> Any:  # whatever the task has
        return getattr(self._task, name)

    def val_batches(self, batch_size: int, max_samples: int | None) -> Iterator[tuple[Any, Any]]:
        """Yield the task's own batches."""
        seen = 0
        for inputs, targets in self._task.val_batches(batch_size, max_samples):
            self._on_batch(seen)
            yield inputs, targets
            seen += examples_in(inputs, targets)

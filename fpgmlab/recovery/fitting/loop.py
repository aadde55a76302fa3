"""The loop of a training: epochs of steps, an evaluation after each, and an end whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.interrupts import Stopped, held_back, tell_interrupted
from fpgmlab.common.modules import device_of, forget_caches
from fpgmlab.recovery.extras.extra import Extra, RunningExtra, begun
from fpgmlab.recovery.fitting.checkpoint import Checkpoint, of_generators, set_generators
from fpgmlab.recovery.fitting.identity import identity
from fpgmlab.recovery.fitting.keeping import Keeping
from fpgmlab.recovery.fitting.losses import EVERY, Losses
from fpgmlab.recovery.fitting.norms import synchronised
from fpgmlab.recovery.fitting.options import Options
from fpgmlab.recovery.fitting.processes import Processes
from fpgmlab.recovery.steps import Steps
from fpgmlab.tasks.evaluation import evaluate
from fpgmlab.tasks.loading import is_countable, number_of_workers, reading
from fpgmlab.tasks.shuffling import WHOLE, Batch, mixed
from fpgmlab.tasks.task import Task

if TYPE_CHECKING:
    from tqdm.auto import tqdm

Row = dict[str, float]
Epochs = Iterator[Iterator[Batch]]


@dataclass(frozen=True)
class Around:
    """What a training tells and asks, and how it runs; none of it changes the result. Names as of `fpgmlab.fit`."""

    workers: int | str
    compile: bool
    checkpoint: str | os.PathLike[str] | None
    progress: bool
    on_epoch: Callable[[Row], None] | None
    on_step: Callable[[Row], None] | None
    stop: Callable[[], bool] | None


class Loop:
    """A training and what has come of it.

    Attributes
    ----------
    rows : list of dict
        Of the finished epochs.
    keeping : Keeping
        Of which epoch the model has the weights at the end.
    resumed : int
        The epoch after which it went on from a checkpoint, 0 for none.
    interrupted : bool
        Whether it was ended by Ctrl-C or ``stop``.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        extras: Sequence[Extra],
        options: Options,
        around: Around,
        processes: Processes,
    ) -> None:
        self.rows: list[Row] = []
        self.resumed, self.interrupted = 0, False
        self._model, self._task, self._extras = model, task, extras
        self._options, self._around, self._processes = options, around, processes
        self._device = device_of(model)
        self._workers = number_of_workers(around.workers, self._device, processes.here)
        self._per_epoch = max(1, len(task.train) // options.step_size)
        self.keeping = Keeping(model, task, options.keep)
        self._finished = False
        self._checkpoint: Checkpoint | None = None
        self._noted: list[object] = []  # Ctrl-C, where processes have to end together

    def run(self) -> None:
        """Train; on exit the model has the weights that are kept, in the modes it was in.

        Raises
        ------
        FloatingPointError
            For a loss that is NaN or infinite.
        """
        modes = {module: module.training for module in self._model.modules()}
        restore = False
        try:
            self._train()
            restore = True
        except KeyboardInterrupt as end:
            self.interrupted, restore = True, self.keeping.measured
            if self._processes.main:
                tell_interrupted(f"fit ends after {len(self.rows)} of {self._options.epochs} epochs", end)
        except FloatingPointError:
            restore = True
            raise
        finally:
            with held_back(deliver=False) as noted:
                if restore:
                    self._model.load_state_dict(self.keeping.weights)
                    forget_caches(self._model)
                for module, mode in modes.items():
                    module.training = mode
            self.interrupted = self.interrupted or bool(noted)

    def _train(self) -> None:
        model, options, processes = self._model, self._options, self._processes
        total = options.epochs * self._per_epoch
        with ExitStack() as stack:
            if processes.count > 1:
                self._noted = stack.enter_context(held_back(deliver=False))
            processes.same([*model.parameters(), *model.buffers()])
            if self._around.checkpoint is not None:
                stored = processes.from_main(self._stored)
                if stored is not None and stored["finished"]:
                    self._take(stored)
                    return
            else:
                stored = None
            stack.enter_context(self._seeded())
            running = stack.enter_context(begun(self._extras, model, self._task, options.epochs, total))
            stack.enter_context(synchronised(model, processes))
            steps = Steps(model, self._task, running, total, options, processes, self._around.compile)
            if stored is not None:
                self._take(stored, steps)
            elif options.keep == "best" and not any(extra.leads_elsewhere() for extra in running):
                with self._seeded():  # as if nothing had been drawn
                    self.keeping.begin(processes.from_main(lambda: evaluate(steps.judged, self._task)))
            bar = stack.enter_context(_bar(total, self._around.progress and processes.main))
            bar.update(len(self.rows) * self._per_epoch)
            first = len(self.rows) + 1
            epochs = stack.enter_context(self._reading(first))
            for epoch, batches in enumerate(epochs, first):
                self._epoch(epoch, batches, steps, running, bar)
                if self._finished:
                    break

    def _epoch(
        self, epoch: int, batches: Iterator[Batch], steps: Steps, running: Sequence[RunningExtra], bar: tqdm
    ) -> None:
        model, around, task, started = self._model, self._around, self._task, time.perf_counter()
        losses = Losses(1 if self._device.type == "cpu" or self._processes.count > 1 else EVERY)
        model.train()
        step = 0
        for step, (inputs, targets) in enumerate(batches, 1):
            asked = around.stop is not None and bool(around.stop())
            halt = bool(self._noted) or asked
            if halt and self._processes.count == 1:
                raise Stopped
            loss, halt = steps.gradients(inputs, targets, halt)
            if halt:
                raise Stopped if asked else KeyboardInterrupt
            self._refuse(losses.add(loss), epoch)
            now = (epoch - 1) * self._per_epoch + step
            steps.step(now)
            if around.on_step is not None and self._processes.main:
                around.on_step({"epoch": epoch, "step": now, "steps": steps.total, "loss": loss.item()})
            bar.update()
            if step % 10 == 0:
                bar.set_postfix_str(f"epoch {epoch}/{self._options.epochs}, loss {losses.mean:.3f}", refresh=False)
        self._refuse(losses.look(), epoch)
        if not step:
            size = self._options.step_size
            raise ValueError(f"task.train_batches({size}) gave no batch: choose a smaller batch_size")
        for extra in running:
            extra.before_judging(model, steps.judged)
        found = self._processes.from_main(lambda: evaluate(steps.judged, task))
        row = {"epoch": epoch, "train_loss": losses.mean} | found
        row |= {"lr": steps.lr, "seconds": time.perf_counter() - started}
        row.pop("samples")
        with held_back():  # what is kept is what the checkpoint says
            self._close(row, steps, running)
        if around.on_epoch is not None and self._processes.main:
            around.on_epoch(row)

    def _close(self, row: Row, steps: Steps, running: Sequence[RunningExtra]) -> None:
        self.rows.append(row)
        epoch = len(self.rows)
        self.keeping.offer(row, steps.judged, epoch)
        ends = [extra.after_epoch(self._model, row) for extra in running]  # each is asked
        self._finished = any(ends) or epoch == self._options.epochs
        self._write(steps)

    def _refuse(self, found: tuple[int, float] | None, epoch: int) -> None:
        if found is not None:
            step, value = found
            since = f"after epoch {self.keeping.epoch}" if self.keeping.epoch else "from before the training"
            raise FloatingPointError(
                f"the loss is {value} in epoch {epoch}, step {step}; the model has its weights {since} again. "
                f"Lower lr (now {self._options.lr:g})."
            )

    def _stored(self) -> dict[str, Any] | None:
        """Return what the checkpoint holds; only the first process has one."""
        assert self._around.checkpoint is not None
        run = identity(self._model, self._task, self._extras, self._options, self._processes.count)
        self._checkpoint = Checkpoint(self._around.checkpoint, run)
        return self._checkpoint.read()

    def _write(self, steps: Steps) -> None:
        if self._around.checkpoint is None:
            return
        generators = self._processes.gathered(of_generators(self._device))
        if self._checkpoint is not None:
            self._checkpoint.write(
                {
                    "epoch": len(self.rows),
                    "finished": self._finished,
                    "rows": self.rows,
                    **self.keeping.state_dict(),
                    "model": self._model.state_dict(),
                    "steps": steps.state_dict(),
                    "generators": generators,
                }
            )

    def _take(self, stored: dict[str, Any], steps: Steps | None = None) -> None:
        """Be where the training was that has written a checkpoint."""
        self.rows, self.resumed, self._finished = stored["rows"], stored["epoch"], stored["finished"]
        self.keeping.load_state_dict(stored)
        if steps is not None:
            self._model.load_state_dict(stored["model"])
            steps.load_state_dict(stored["steps"])
            set_generators(stored["generators"][self._processes.number], self._device)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Seed torch's global generators (dropout draws from them); they are as before on exit."""
        number = self._processes.number
        seed = self._options.seed if number == 0 else mixed(self._options.seed, number)
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    @contextmanager
    def _reading(self, first: int) -> Iterator[Epochs]:
        seeds = [self._options.seed * 10007 + epoch for epoch in range(first, self._options.epochs + 1)]
        # Of other tasks the steps take a share of what they are given.
        share = (self._processes.number, self._processes.count) if is_countable(self._task) else WHOLE
        with reading(self._task, self._options.step_size, seeds, self._workers, share) as epochs:
            yield epochs


def _bar(steps: int, progress: bool) -> tqdm:
    return progress_bar(total=steps, progress=progress, unit="batch", desc="fit")

"""What is done between two cuts: repaired, trained again, or what the caller's function does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fpgmlab.common.inputs import inputs_of
from fpgmlab.common.interrupts import Stopped
from fpgmlab.errors import one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.plans.plan import Plan
from fpgmlab.recovery.extras.extra import Extra, check_extras
from fpgmlab.recovery.fitting.options import Options
from fpgmlab.recovery.recalibration import recalibrate
from fpgmlab.recovery.repairing import Repairs, repair, repair_report
from fpgmlab.recovery.repairing.whole import checked_options
from fpgmlab.recovery.training import fit
from fpgmlab.tasks.task import Task, train_batch_size

Function = Callable[[ChannelGraph, Plan, nn.Module, Task], nn.Module | None]


@dataclass(frozen=True, eq=False)
class Cut:
    """What one step has cut, for what comes after it.

    Attributes
    ----------
    number : int
        Of the step, from 1.
    before, plan : ChannelGraph, Plan
        The network before this step, and what was cut from it.
    origin, gone : ChannelGraph, Plan
        The network before the first step, and all that was cut from it.
    task : task
    stop : callable or None
        What ends the work as Ctrl-C does.
    checkpoint : Path or None
        Where a training's progress may be kept.
    progress : bool
        Whether bars are shown.
    """

    number: int
    before: ChannelGraph
    plan: Plan
    origin: ChannelGraph
    gone: Plan
    task: Task
    stop: Callable[[], bool] | None
    checkpoint: Path | None
    progress: bool


@dataclass(frozen=True)
class Repair:
    """Repair between the steps of `fpgmlab.prune_gradually`; the options are those of `fpgmlab.repair`.

    Attributes
    ----------
    samples, positions, ridge, targets, memory
        As for `fpgmlab.repair`.
    seed : int
        Of the pictures and positions; one more at each step, so that every step is repaired by others.
    towards : {"step", "whole"}
        Whose layers the remaining ones shall equal: those of the network before this step, as it was repaired and
        trained until then, or those of the whole network before the first step, with its batch norms: with nothing
        trained about as good, after trainings worse (``data/results/gradual.json``).
    """

    samples: int | None = None
    positions: int | None = None
    ridge: float | None = None
    targets: str = "active"
    seed: int = 0
    memory: float = 4e9
    towards: Literal["step", "whole"] = "step"

    stage = "repaired"

    def check(self, task: Task) -> None:
        """Raise a `ValueError` for options out of range, and for a task without pictures to repair by."""
        if self.towards not in ("step", "whole"):
            raise ValueError(one_of("towards", self.towards, ("step", "whole")))
        self._options(0)
        inputs_of(task, 1, 0)

    def after(self, cut: Cut, network: nn.Module) -> nn.Module:
        """Return the network repaired, as it is where nothing was cut; a `ValueError` without pictures to repair by."""
        if not any(cut.plan.removed.values()):
            return network
        graph, plan = (cut.before, cut.plan) if self.towards == "step" else (cut.origin, cut.gone)
        options = self._options(cut.number - 1)
        samples = self.samples or enough_pictures(cut.origin, self.positions)
        batches = inputs_of(cut.task, samples, options.seed, at_most=self.samples is None)
        with Repairs(graph, batches, options, many=False) as repairs:
            network = repairs.of(plan, start=network, stop=cut.stop, progress=cut.progress)
        if repair_report(network).attrs["interrupted"]:
            raise Stopped
        return network

    def _options(self, more: int) -> Any:
        return checked_options(self.samples, self.positions, self.ridge, self.targets, self.seed + more, self.memory)


@dataclass(frozen=True)
class Fit:
    """Training between the steps of `fpgmlab.prune_gradually`; the options are those of `fpgmlab.fit`.

    Attributes
    ----------
    epochs, lr, optimizer, weight_decay, batch_size, extras, amp, keep, average, accumulate, workers, compile
        As for `fpgmlab.fit`.
    seed : int
        As well; one more at each step.
    """

    epochs: int = 1
    lr: float = 0.05
    optimizer: str = "sgd"
    weight_decay: float = 5e-4
    batch_size: int | None = None
    extras: Sequence[Extra] = ()
    seed: int = 0
    amp: str = "auto"
    keep: str = "best"
    average: float = 0.0
    accumulate: int = 1
    workers: int | str = 0
    compile: bool = False

    stage = "recovered"

    def check(self, task: Task) -> None:
        """Raise a `ValueError` for options out of range, a `TypeError` for extras that are none.

        The task gives the batch size that is left out.
        """
        check_extras(self.extras)
        size = train_batch_size(task, self.batch_size)
        Options(
            self.epochs, self.lr, self.optimizer, self.weight_decay, size, self.accumulate, self.seed, self.amp,
            self.keep,
        )  # fmt: skip

    def after(self, cut: Cut, network: nn.Module) -> nn.Module:
        """Return the network trained; of the cut its task, number, checkpoint and stop are looked at."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        options["seed"] += cut.number - 1
        history = fit(network, cut.task, **options, checkpoint=cut.checkpoint, stop=cut.stop, progress=cut.progress)
        if history.attrs["interrupted"]:
            raise Stopped
        return network


@dataclass(frozen=True)
class Called:
    """A function of the caller: ``(graph, plan, network, task) -> network``, or None when it has changed it in place.

    Graph and plan are those of the step: the network before it, and what was cut from that.
    """

    function: Function

    @property
    def stage(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def check(self, task: Task) -> None:
        """Do nothing: it is not known what the function needs."""

    def after(self, cut: Cut, network: nn.Module) -> nn.Module:
        """Return what the function makes of the network."""
        given = self.function(cut.before, cut.plan, network, cut.task)
        if given is not None and not isinstance(given, nn.Module):
            raise TypeError(f"{self.stage} in between= must return a network, or None; it returned {given!r}")
        return network if given is None else given


def _recalibrated(graph: ChannelGraph, plan: Plan, network: nn.Module, task: Task) -> None:
    recalibrate(network, task)


_recalibrated.__name__ = "recalibrated"
Part = Repair | Fit | Called
# The functions themselves stand for their defaults.
USUAL: tuple[tuple[object, Part], ...] = (
    (repair, Repair()), (Repair, Repair()), (fit, Fit()), (Fit, Fit()), (recalibrate, Called(_recalibrated)),
)  # fmt: skip


def parts_of(between: Sequence[object]) -> list[Part]:
    """Return what is done between two steps.

    Raises
    ------
    TypeError
        For an element that is nothing of the kind, with its place.
    """
    if callable(between) or isinstance(between, (str, Repair, Fit)):
        raise TypeError(f"between must be a list, such as [fl.Repair(), fl.Fit(epochs=1)]; got {between!r}")
    found: list[Part] = []
    for place, element in enumerate(between):
        if isinstance(element, (Repair, Fit)):
            found.append(element)
        elif callable(element):
            found.append(next((usual for function, usual in USUAL if element is function), Called(element)))
        else:
            raise TypeError(
                f"between[{place}] must be fl.Repair(...), fl.Fit(...) or a function (graph, plan, network, task) -> "
                f"network; got {element!r}"
            )
    return found

"""The steps: cut, what is done between two cuts, and what it comes to, measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from fpgmlab.allocation.gradual.between import Cut, Part
from fpgmlab.allocation.gradual.cutting import Cutter
from fpgmlab.allocation.gradual.folder import Folder, State
from fpgmlab.common.holdings import copy_of
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import Provenance, file_provenance, join_plans, provenance
from fpgmlab.surgery.pruning import prune
from fpgmlab.tasks.evaluation import evaluate


@dataclass(frozen=True, eq=False)
class Steps:
    """Goes from one step to the next; nothing that it was given is changed.

    Attributes
    ----------
    cutter : Cutter
    parts : sequence
        What is done between two cuts.
    budgets : sequence of float
        What may remain after each step.
    max_samples : int or None
        Validation examples that the history is measured on.
    folder : Folder or None
        Where finished steps are kept.
    """

    cutter: Cutter
    parts: Sequence[Part]
    budgets: Sequence[float]
    max_samples: int | None
    folder: Folder | None

    @property
    def columns(self) -> list[str]:
        """The columns of the history."""
        metric = self.cutter.task.metric_name
        return ["step", "stage", "budget", "macs", "params", "channels", "loss", metric, "seconds"]

    @property
    def nothing(self) -> Plan:
        """What is gone before the first step."""
        return Plan({name: group.channels for name, group in self.cutter.origin.items()}, {})

    def states(self) -> Iterator[State]:
        """Yield what there is now, from the folder where it has some, and after each further step."""
        state = None if self.folder is None else self.folder.load(self.nothing)
        if state is None:
            state = self._kept(self.begun())
        yield state
        while state.number < len(self.budgets):
            state = self._kept(self.after(state))
            yield state

    def begun(self) -> State:
        """Return what there is before the first step."""
        network, gone = copy_of(self.cutter.origin.model), self.nothing
        return State(0, network, gone, (self._row(0, "unpruned", network, gone, 0.0),))

    def after(self, state: State) -> State:
        """Return what there is after the next step.

        Raises
        ------
        KeyboardInterrupt
            When it was stopped within the step.
        """
        cutter, number = self.cutter, state.number + 1
        inner = None if self.folder is None else self.folder.path / f"step-{number:03}"
        started = time.perf_counter()
        swept = None if inner is None else inner / "sweep"
        before, plan, gone = cutter.cut(state.network, state.gone, self.budgets[state.number], swept)
        network = prune(before, plan)
        untouched = not any(plan.removed.values())  # then what was repaired still is
        mended = untouched and number > 1 and _mended(state.network)
        join_plans(network, self._record, gone, mended)
        rows = [*state.rows, self._row(number, "as cut", network, gone, time.perf_counter() - started)]
        for place, part in enumerate(self.parts):
            started = time.perf_counter()
            where = None if inner is None else inner / f"fit-{place}.pt"
            cut = Cut(number, before, plan, cutter.origin, gone, cutter.task, cutter.stop, where, cutter.progress)
            network = part.after(cut, network)
            mended = mended or _mended(network)
            join_plans(network, self._record, gone, mended)
            rows.append(self._row(number, part.stage, network, gone, time.perf_counter() - started))
        return State(number, network, gone, tuple(rows))

    def _kept(self, state: State) -> State:
        if self.folder is not None:
            self.folder.save(state)
            for left in self.folder.path.glob(f"step-{state.number:03}/fit-*.pt"):
                left.unlink()
                if not any(left.parent.iterdir()):
                    left.parent.rmdir()
        return state

    @property
    def _record(self) -> Provenance:
        return file_provenance(self.cutter.origin.model)

    def _row(self, number: int, stage: str, network: nn.Module, gone: Plan, seconds: float) -> dict[str, Any]:
        figures = evaluate(network, self.cutter.task, max_samples=self.max_samples)
        whole, left = self.cutter.origin.cost(), self.cutter.origin.cost(gone)
        given = {"step": number, "stage": stage, "budget": self.budgets[number - 1] if number else 1.0}
        shares = {"macs": left.macs / whole.macs, "params": left.params / whole.params}
        row = given | shares | {"channels": sum(gone.kept.values())} | figures | {"seconds": seconds}
        return {name: row[name] for name in self.columns}


def _mended(network: nn.Module) -> bool:
    """Tell whether a network was repaired after its last plan."""
    return provenance(network).repaired[-1:] == (True,)

"""What is to be measured, and what next."""

from __future__ import annotations

from dataclasses import dataclass

from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.live.memory import Entry, Memory, Stage, plan_digest


@dataclass(frozen=True, eq=False)
class Subject:
    """A plan that is measured, and what is known of it."""

    plan: Plan
    digest: str
    entry: Entry


@dataclass(frozen=True, eq=False)
class Step:
    """What is done next: a part of the pictures, a repair."""

    doing: str  # "glimpse", "as cut", "repaired", "warm", "timing"
    subject: Subject

    @property
    def rank(self) -> int:
        """How urgent it is where a class shares the cores, see `in_turn`: first values before more pictures."""
        stage = self.subject.entry.stages.get(self.doing)
        if self.doing in ("warm", "timing"):
            return 4
        return 0 if stage is None else 3 if stage.begun else 2 if self.doing == "repaired" else 0


class Agenda:
    """The plan on the desk, others that are wanted, one that passes by, and what is known of all of them.

    Parameters
    ----------
    bars : Bars
    follow : bool
        Whether plans are repaired too.
    time : bool
        Whether the network that rests on the desk is timed at the end.

    Attributes
    ----------
    memory : Memory
    shown : Subject or None
        On the desk.
    glimpse, glimpsed : Subject or None
        A plan under the pointer: that is asked for, and the last that was answered.
    others : list of Subject
    warm : bool
        Whether what all repairs have in common is there, or need not be.
    """

    def __init__(self, bars: Bars, follow: bool, time: bool) -> None:
        self._bars, self._follow, self._time = bars, follow, time
        self.memory = Memory()
        self.shown: Subject | None = None
        self.glimpse: Subject | None = None
        self.glimpsed: Subject | None = None
        self.others: list[Subject] = []
        self.warm = not follow

    def forget(self) -> None:
        """The network has other weights: nothing that was measured holds."""
        self.memory.clear()
        self.shown = self.glimpse = self.glimpsed = None
        self.others, self.warm = [], not self._follow

    def subject(self, plan: Plan, *, passing: bool = False) -> Subject:
        """Return a plan with what is known of it, which is remembered from now on unless it only passes by."""
        digest = plan_digest(plan)
        known = self.memory.get(digest)
        if known is None and self.glimpsed is not None and self.glimpsed.digest == digest:
            known = self.glimpsed.entry
        known = known or self._entry(plan)
        if "repaired" not in self._stages(plan) and not known.stages.get("repaired", Stage()).found:
            known.stages.pop("repaired", None)  # a file does not tell that nothing is to be repaired
        return Subject(plan, digest, known if passing else self.memory.put(digest, known))

    def next(self) -> Step | None:
        """Return what is to be measured next: a first value of each network, then more, the repaired one first."""
        if self.glimpse is not None:
            return Step("glimpse", self.glimpse)
        for subject in (*([] if self.shown is None else [self.shown]), *self.others):
            stages = subject.entry.stages
            for name, stage in (*((n, s) for n, s in stages.items() if not s.begun), *reversed(stages.items())):
                if not stage.over:
                    return Step(name, subject)
        if self.shown is None:
            return None
        if not self.warm:
            return Step("warm", self.shown)
        entry = self.shown.entry
        return Step("timing", self.shown) if self._time and entry.timed is None and not entry.untimed else None

    @property
    def over(self) -> bool:
        """Whether all is measured of the plan on the desk that will be."""
        return self.shown is None or all(stage.over for stage in self.shown.entry.stages.values())

    def _entry(self, plan: Plan) -> Entry:
        totals = self._bars.totals(plan)
        stages = {name: Stage() for name in self._stages(plan)}
        key = ",".join(map(str, self._bars.kept(plan)))
        return Entry(key, int(totals["macs"] or 0), totals["latency"], stages)

    def _stages(self, plan: Plan) -> tuple[str, ...]:
        """Return the networks that are measured of a plan: one that removes nothing has nothing to repair."""
        return ("as cut", "repaired") if self._follow and any(plan.removed.values()) else ("as cut",)

"""Two plans side by side: what each keeps, costs and gives."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import traitlets

from fpgmlab.errors import unknown
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.desk.live.memory import plan_digest
from fpgmlab.widgets.desk.paper import PaperDesk
from fpgmlab.widgets.desk.payload import Json, plain_row
from fpgmlab.widgets.desk.requests import DESK, Side

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["network", "metric", "a", "b", "difference", "low", "high", "samples"]
_SIDES = ("original", DESK)  # names that no snapshot needs


class ComparingDesk(PaperDesk):
    """A desk that holds two plans against each other: two snapshots, the unpruned network, the plan on the desk.

    Attributes
    ----------
    compared : dict
        Of the two plans that the browser asked for last, ``a`` and ``b`` (the id of a snapshot, None for the unpruned
        network, "on the desk"): ``kept`` and ``totals``, two each; ``others``, by the place of a group how many of
        the channels that one plan keeps the other removes; ``rows`` as in `compare`; ``wanted``, whether measuring
        goes on.
    """

    compared = traitlets.Dict().tag(sync=True)

    _sides: tuple[Side, Side] | None = None
    _shown: object = None  # what `compared` is of

    def compare(self, a: str, b: str) -> pd.DataFrame:
        """Return how the networks of two plans differ, as far as both are measured; see `wait`.

        Parameters
        ----------
        a, b : str
            The name of a snapshot, "original" (the unpruned network) or "on the desk".

        Returns
        -------
        pandas.DataFrame
            A row for each network ("as cut", "repaired") and metric: network, metric, a, b, difference (b - a), low and
            high (the ends of its 95 % interval, on the same pictures), samples. What is not measured yet is, as soon
            as the plan on the desk is.

        Raises
        ------
        ValueError
            For a name that no snapshot has.
        """
        import pandas as pd

        with self._lock:
            plans = [self._plan_of(self._side(name)) for name in (a, b)]
            self._want(plans)
            return pd.DataFrame(self._live.compare(*plans), columns=_COLUMNS)

    def hold_against(self, a: Side, b: Side) -> None:
        """Show two plans, a and b, side by side from now on; see `compared`."""
        with self._lock:
            plans = [self._plan_of(side) for side in (a, b)]
            self._sides, self._shown = (a, b), None
            self._want(plans)
            self._show_compared()

    def _side(self, name: str) -> Side:
        if name in _SIDES:
            return None if name == "original" else DESK
        known = {each["name"]: each["id"] for each in self.snapshots}
        if name not in known:
            raise ValueError(unknown("plan", name, [*known, *_SIDES]))
        return known[name]

    def _plan_of(self, side: Side) -> Plan:
        if side is None:
            return self._bars.nothing
        if side == DESK:
            return self.plan
        found = next((each for each in self.snapshots if each["id"] == side), None)
        if found is None:
            raise ValueError(f"there is no snapshot {side!r}: it was deleted")
        return self._snapshot_plan(found)

    @cached_property
    def _snapshot_plans(self) -> dict[str, tuple[Json, Plan]]:
        return {}

    def _snapshot_plan(self, snapshot: Json) -> Plan:
        key = str(snapshot["id"])
        known = self._snapshot_plans.get(key)
        if known is None or known[0] is not snapshot:  # it may be another one under the same number
            known = self._snapshot_plans[key] = (snapshot, self._bars.stands_for(self._bars.read(snapshot)))
        return known[1]

    def _results(self) -> dict[str, dict[str, Any]]:
        """Return what was measured, of snapshots by their ids: the same numbers may be of other channels."""
        found = {f"#{each['id']}": self._measured_of(self._snapshot_plan(each)) for each in self.snapshots}
        return super()._results() | {
            key: {network: plain_row(row) for network, row in networks.items()}
            for key, networks in found.items()
            if networks
        }

    def _want(self, plans: list[Plan]) -> None:
        for plan in plans:
            if plan != self.plan:
                self._live.want(plan)

    def _show_live(self) -> None:
        with self._lock:
            super()._show_live()
            self._show_compared()

    @traitlets.observe("snapshots")
    def _others_are_kept(self, change: object) -> None:
        with self._lock:
            self._show_compared()

    def _show_compared(self) -> None:
        """Show what there is of the two plans; nothing is computed when nothing is new."""
        if self._sides is None:
            return
        try:
            plans = [self._plan_of(side) for side in self._sides]
        except ValueError:  # one was deleted
            self._sides, self.compared = None, {}
            return
        entries = [self._live.agenda.memory.get(plan_digest(plan)) for plan in plans]
        stages = [stage for entry in entries if entry is not None for stage in entry.stages.values()]
        wanted = not self.live.get("why") and not all(stage.over for stage in stages)
        news = (plans, [stage.samples for stage in stages], wanted)
        if news == self._shown:
            return
        self._shown = news
        self.compared = {
            "a": self._sides[0],
            "b": self._sides[1],
            "kept": [self._bars.kept(plan) for plan in plans],
            "totals": [self._bars.totals(plan) for plan in plans],
            "others": self._others(*plans),
            "rows": [plain_row(row) for row in self._live.compare(*plans)],
            "wanted": wanted,
        }

    def _others(self, a: Plan, b: Plan) -> Json:
        pairs = enumerate(zip(a.removed.values(), b.removed.values(), strict=True))
        return {str(g): len(set(ours) ^ set(theirs)) for g, (ours, theirs) in pairs if ours != theirs}

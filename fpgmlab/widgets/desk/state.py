"""The state that a desk shares with its browser: the plan, and what is around it."""

from __future__ import annotations

import threading

import traitlets

from fpgmlab.errors import unknown
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple, check_rounding
from fpgmlab.widgets.common.panel import Panel
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.payload import Json


class DeskState(Panel):
    """A plan on the screen: bars moved there become plans here, plans assigned here move the bars there.

    Parameters
    ----------
    bars : Bars
    desk : dict
        See `desk_payload`.
    **state
        Other traits to begin with.
    """

    plan = traitlets.Instance(Plan)
    desk = traitlets.Dict().tag(sync=True)
    kept = traitlets.List(traitlets.Int()).tag(sync=True)
    chosen = traitlets.Dict().tag(sync=True)
    exchanged = traitlets.Dict().tag(sync=True)
    revision = traitlets.Int(0).tag(sync=True)
    confirmed = traitlets.Dict().tag(sync=True)
    metric = traitlets.Unicode(allow_none=True).tag(sync=True)
    multiple = traitlets.Union([traitlets.Int(), traitlets.Unicode()], default_value="runtime").tag(sync=True)
    locked = traitlets.List(traitlets.Int()).tag(sync=True)
    snapshots = traitlets.List(traitlets.Dict()).tag(sync=True)
    current = traitlets.Int(None, allow_none=True).tag(sync=True)
    notice = traitlets.Dict().tag(sync=True)

    def __init__(self, bars: Bars, desk: Json, **state: object) -> None:
        self._bars, self._notices = bars, 0
        self._lock = threading.Condition()  # reentrant; whoever waits for the work lets go of it meanwhile
        super().__init__(plan=bars.nothing, desk=desk, kept=bars.kept(bars.nothing), **state)
        self._confirm()

    def set_state(self, sync_data: dict) -> None:
        """Take what the browser changed, ``sync_data``; what is refused goes back as it was, with a notice."""
        with self._lock:
            before = self.revision
            try:
                self._take(sync_data)
            except traitlets.TraitError as error:
                self._say("error", f"The kernel did not take a change: {error}")
                self.send_state([name for name in sync_data if name in self.keys])
            finally:
                if "revision" in sync_data and self.revision <= before:
                    # It did not know of the kernel's last plan, which may be under way to it: its own is the later.
                    self.revision = before + 1
                    self.send_state("kept")
                self._confirm()

    def _take(self, sync_data: dict) -> None:
        super().set_state(sync_data)

    def snapshot(self, name: str | None = None) -> None:
        """Keep the plan on the screen under a name, below the snapshot from which it came.

        Parameters
        ----------
        name : str, optional
            "plan 1", ... when left out.
        """
        with self._lock:
            number = 1 + max((each["id"] for each in self.snapshots), default=0)
            named = f"plan {number}" if name is None else name
            new = {"id": number, "name": named, "parent": self.current, **self._entry_payload()}
            self.snapshots = [*self.snapshots, new]
            self.current = number

    def _entry_payload(self) -> Json:
        """Return the plan on the desk as JSON, without what is empty."""
        found = self._bars.entry(self.plan).payload(list(self._bars.nothing.widths))
        return {name: value for name, value in found.items() if value}

    # The plan and the numbers of channels --------------------------------------------------------------------------

    @traitlets.validate("plan")
    def _of_this_network(self, proposal: dict) -> Plan:
        return self._bars.whole(proposal["value"])

    @traitlets.validate("kept")
    def _can_be_kept(self, proposal: dict) -> list[int]:
        try:
            self._bars.check(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return proposal["value"]

    @traitlets.observe("plan")
    def _plan_changed(self, change: dict) -> None:
        with self._lock:
            kept = self._bars.kept(self.plan)
            with self.hold_sync():
                if kept != self.kept or self.plan != self._bars.last:  # it was not the bars that moved
                    if self._bars.remember(self.plan):
                        self.chosen = self._bars.chosen
                        self.exchanged = self._bars.exchanges
                    self.revision += 1
                    self.kept = kept
                self._stepped()
            self._confirm()

    def _stepped(self) -> None:
        """Note that another plan is on the desk: for undo."""

    @traitlets.observe("kept")
    def _kept_changed(self, change: dict) -> None:
        self._move()

    @traitlets.validate("exchanged")
    def _can_be_exchanged(self, proposal: dict) -> dict[str, list[list[int]]]:
        try:
            self._bars.checked(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return {place: [list(pair) for pair in pairs] for place, pairs in proposal["value"].items() if pairs}

    @traitlets.observe("exchanged")
    def _exchanged_changed(self, change: dict) -> None:
        if self.exchanged != self._bars.exchanges:  # else it is the bars' own word
            self._move()

    def _move(self) -> None:
        """Take the plan that numbers of channels and exchanges stand for, which may both have changed."""
        with self._lock:
            if self._bars.exchange(self._bars.checked(self.exchanged)):
                self.chosen = self._bars.chosen
            self.plan = self._bars.plan(self.kept)

    def _confirm(self) -> None:
        """Tell the browser what the kernel makes of the plan."""
        self.confirmed = {"revision": self.revision} | self._bars.totals(self.plan)

    # What is around it ---------------------------------------------------------------------------------------------

    @traitlets.validate("metric")
    def _is_measured(self, proposal: dict) -> str | None:
        value, known = proposal["value"], [each["name"] for each in self.desk["metrics"]]
        if value is not None and value not in known:
            raise traitlets.TraitError(f"the curves do not have it: {unknown('metric', value, known)}")
        return value

    @traitlets.validate("multiple")
    def _is_multiple(self, proposal: dict) -> Multiple:
        try:
            check_rounding(proposal["value"], 1.0)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return proposal["value"]

    @traitlets.validate("locked")
    def _are_groups(self, proposal: dict) -> list[int]:
        count = len(self.desk["groups"])
        for place in proposal["value"]:
            if not 0 <= place < count:
                raise traitlets.TraitError(f"locked must be positions of groups, 0 to {count - 1}; got {place}")
        return sorted(set(proposal["value"]))

    @traitlets.validate("snapshots")
    def _are_snapshots(self, proposal: dict) -> list[dict]:
        numbers = [each.get("id") for each in proposal["value"]]
        for each in proposal["value"]:
            number, name, parent = each.get("id"), each.get("name"), each.get("parent")
            if type(number) is not int or numbers.count(number) > 1:
                raise traitlets.TraitError(f"the id of a snapshot must be a whole number of its own; got {number!r}")
            if not isinstance(name, str) or not name:
                raise traitlets.TraitError(f"the name of a snapshot must be a text; got {name!r}")
            if parent is not None and parent not in numbers:
                raise traitlets.TraitError(f"snapshot {name!r} comes from {parent!r}, which is no snapshot's id")
            try:
                self._bars.read(each)
            except ValueError as error:
                raise traitlets.TraitError(f"snapshot {name!r}: {error}") from None
        return proposal["value"]

    @traitlets.observe("snapshots")
    def _one_is_current(self, change: dict) -> None:
        if self.current not in {each["id"] for each in self.snapshots}:
            self.current = None

    def _say(self, kind: str, words: str) -> None:
        """Show a line on the desk, of the kind "info" or "error"."""
        self._notices += 1
        self.notice = {"id": self._notices, "kind": kind, "words": words}

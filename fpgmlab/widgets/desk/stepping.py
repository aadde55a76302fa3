"""Undo and redo, on both sides of a desk."""

from __future__ import annotations

import traitlets

from fpgmlab.errors import one_of
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.history import STEPS, Entry, History
from fpgmlab.widgets.desk.payload import Json
from fpgmlab.widgets.desk.state import DeskState


class SteppingDesk(DeskState):
    """A desk whose plans can be undone, with the channels that a cell or a hand chose.

    The browser steps back by itself and tells of it; both sides note each step by the same rule. The whole history is
    only sent to a page that is new.

    Parameters
    ----------
    bars, desk, **state
        As in `DeskState`.
    """

    own = traitlets.Dict().tag(sync=True)  # removed channels by the group's place; see `Entry`
    step = traitlets.Dict().tag(sync=True)  # what the browser says of a plan beyond its numbers: what, own, revision
    history = traitlets.Int(0).tag(sync=True, to_json=lambda value, desk: desk._history_payload())

    def __init__(self, bars: Bars, desk: Json, **state: object) -> None:
        self._history, self._entry, self._names = History(), bars.entry(bars.nothing), list(bars.nothing.widths)
        self._step = "edit"  # the one of `STEPS` that is being done
        super().__init__(bars, desk, **state)

    def undo(self) -> bool:
        """Go back to the plan before; tell whether there is one."""
        return self._go("undo")

    def redo(self) -> bool:
        """Go forward again, after `undo`; tell whether there is something to go to."""
        return self._go("redo")

    def _go(self, what: str) -> bool:
        with self._lock:
            entry = self._history.next(what)
            if entry is None:
                return False
            self._step = what
            try:
                self._show_entry(entry)
            finally:
                self._step = "edit"
            self.send_state("history")
            return True

    def _show_entry(self, entry: Entry) -> None:
        with self.hold_sync():
            taught = self._bars.teach(entry)
            with self.hold_trait_notifications():
                self.kept, self.exchanged = list(entry.kept), self._bars.placed(entry.exchanged)
            if taught:
                self._taught()
            self.revision += 1
            self._confirm()

    def _begin(self, plan: Plan) -> None:
        """Show what there is nothing before."""
        with self._lock:
            self.plan, self._history = plan, History()

    def _take(self, sync_data: dict) -> None:
        told = sync_data.get("step")
        if not told:
            super()._take(sync_data)
            return
        try:
            if told.get("what") not in STEPS:
                raise ValueError(one_of("step", told.get("what"), STEPS))
            asked = {name: sync_data.get(name, getattr(self, name)) for name in ("kept", "exchanged")}
            entry = self._bars.read({**asked, "own": told.get("own", {})})
        except (AttributeError, ValueError) as error:
            raise traitlets.TraitError(str(error)) from None
        self._step = told["what"]
        try:
            taught = self._bars.teach(entry)
            super()._take(sync_data)
            if taught:
                self._taught()
        finally:
            self._step = "edit"

    def _taught(self) -> None:
        """Take the plan and the costs again: the same numbers may stand for other channels."""
        self.chosen = self._bars.chosen
        self._move()

    def _stepped(self) -> None:
        entry = self._bars.entry(self.plan)
        if entry != self._entry:
            self._history.moved(self._step, self._entry, entry)
            self._entry = entry
            self.own = entry.payload(self._names)["own"]

    def _history_payload(self) -> Json:
        with self._lock:
            return self._history.payload(self._names)

"""A desk that keeps its plans, snapshots, history and measurements in a file."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import traitlets

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Scores
from fpgmlab.sensitivity import Curves
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.common.later import Later
from fpgmlab.widgets.desk.file import DeskFile, desk_identity, pictures_of
from fpgmlab.widgets.desk.history import History
from fpgmlab.widgets.desk.payload import plain
from fpgmlab.widgets.desk.working import WorkingDesk

_KEPT = ("plan", "snapshots", "current", "locked", "metric", "multiple", "points", "results", "large")
_AROUND = ("locked", "metric", "multiple", "snapshots", "current", "large")
_REST = 1.0  # seconds in which changes are gathered
_MOST = 1000  # plans whose measurements are kept
_desks: weakref.WeakValueDictionary[Path, KeepingDesk] = weakref.WeakValueDictionary()  # by file, in this process
_guard = threading.Lock()


class KeepingDesk(WorkingDesk):
    """A desk whose state outlives its kernel when it has a file; see `_keep`."""

    _file: DeskFile | None = None
    _later: Later | None = None
    _broken = ""  # why the state is not kept any more
    _pictures = ""
    _changes = _written = 0  # how often something has changed, and what of it is in the file

    def _keep(self, file: DeskFile, stored: Mapping[str, Any] | None, task: Task | None) -> None:
        """Go on with what a file holds, and keep the state there from now on.

        Parameters
        ----------
        file : DeskFile
        stored : mapping or None
            What was read from it.
        task : task, optional
            What was measured on pictures of another one is not taken over.

        Raises
        ------
        ValueError
            For what does not fit; the file is left as it is.
        OSError
            When it cannot be written.
        """
        self._pictures = pictures_of(task)
        try:
            if stored is not None:
                self._resume(stored)
            with self._lock:
                file.write(self._stored())
        except OSError:
            self.close()
            raise
        except (ValueError, KeyError, TypeError, AttributeError, traitlets.TraitError) as error:
            self.close()
            raise file.damaged(error) from error
        self._file, self._later, self._writing = file, Later(self._write, _REST), threading.Lock()
        with _guard:
            _desks[file.path] = self
        self.observe(self._keep_soon, _KEPT)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work has ended and the plan on the desk is measured, see `measured`, and keep what was found.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether that has come.
        """
        found = super().wait(timeout)
        self.flush()
        return found

    def close(self) -> None:
        """End the work, keep the state, and take the desk off the screen."""
        super().close()
        self.flush()
        self._file = None

    def flush(self) -> None:
        """Write now what would be written in a moment."""
        if self._later is not None:
            self._later.cancel()
        if self._changes != self._written:
            self._write()

    def _keep_soon(self, change: object = None) -> None:
        with self._lock:
            self._changes += 1
        if self._later is not None:
            self._later.ask()

    def _write(self) -> None:
        # No thread waits for the lock while it writes: who waits for the file may hold the lock.
        with self._lock:
            file, changes, broken = self._file, self._changes, self._broken
            if file is None or broken:
                return
            state = self._stored()
        with self._writing:
            if changes < self._written:  # a later state is there already
                return
            self._written = changes
            try:
                file.write(state)
            except (OSError, TypeError, ValueError) as error:
                broken = str(error) if isinstance(error, FileExistsError) else in_words(error)
        if broken:
            with self._lock:
                self._broken = broken
                self._say("error", broken)

    def _let_go(self) -> None:
        """Leave the file to another desk of this process."""
        self.flush()
        self._broken = "Another desk keeps its plans in this one's file now: what changes here is not kept any more."
        with self._lock:
            self._say("info", self._broken)

    # What is kept ----------------------------------------------------------------------------------------------------

    def _stored(self) -> dict[str, Any]:
        jobs = [
            {"plan": {name: list(gone) for name, gone in plan.removed.items() if gone},
             "found": _plain(measured)}
            for plan, measured in self._shop.measured.items()
        ]  # fmt: skip
        return {
            **{name: getattr(self, name) for name in _AROUND},
            "plan": self._entry.payload(self._names),
            "history": self._history.payload(self._names),
            "pictures": self._pictures,
            "measured": dict(list(self._live.agenda.memory.dump().items())[-_MOST:]),
            "jobs": jobs,
        }

    def _resume(self, stored: Mapping[str, Any]) -> None:
        entry = self._bars.read(stored["plan"])
        history = History()
        history.past, history.future = (
            [self._bars.read(each) for each in stored["history"][side]] for side in ("past", "future")
        )
        with self._lock, self.hold_sync():
            if stored["pictures"] == self._pictures:
                self._live.agenda.memory.load(stored["measured"])
                for job in stored["jobs"]:
                    gone = {name: tuple(channels) for name, channels in job["plan"].items()}
                    plan = self._bars.whole(Plan(self._bars.nothing.widths, gone))
                    self._shop.measured[plan] = dict(job["found"])
            elif stored["measured"] or stored["jobs"]:
                self._say("info", "What was measured before is of other pictures: it will be measured again.")
            for name in _AROUND:
                setattr(self, name, stored[name])
            self._show_entry(entry)
            self._history = history
            self.send_state("history")
            self._plan_shown()


def _plain(value: Any) -> Any:
    """Return what JSON knows of results."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else plain(value)


def open_file(
    path: str | os.PathLike[str] | None, graph: ChannelGraph, scores: Scores, curves: Curves
) -> tuple[DeskFile | None, dict[str, Any] | None]:
    """Return a desk's file and what it holds; another desk of this process that has it writes no more.

    Raises
    ------
    ValueError
        As `DeskFile.read`.
    """
    if path is None:
        return None, None
    file = DeskFile(path, desk_identity(graph, scores, curves))
    with _guard:
        other = _desks.pop(file.path, None)
    if other is not None:
        other._let_go()
    return file, file.read()


@atexit.register
def _flush_all() -> None:
    for desk in list(_desks.values()):
        desk.flush()

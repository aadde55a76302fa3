"""`SweepPanel`: sensitivity curves that sharpen while one looks on."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import traitlets
from torch import Tensor

from fpgmlab.common.files import as_path
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.sensitivity import Curves
from fpgmlab.sensitivity.curves.metrics import USUAL
from fpgmlab.sensitivity.replay.points import RATIOS
from fpgmlab.tasks.task import Task, usual_metrics
from fpgmlab.widgets.common.bundle import script, sheet
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.common.pace import Pace
from fpgmlab.widgets.common.panel import Panel
from fpgmlab.widgets.sweep.picture import sweep_picture
from fpgmlab.widgets.sweep.run import Options, SweepRun
from fpgmlab.widgets.sweep.view import Extent, empty_grid, extent, filled_grid, points_payload, status_words

_STATIC = Path(__file__).parent / "static"
STATES = ("idle", "running", "cancelled", "finished", "failed")
_CLOSING = 60  # seconds that `close` waits for a forward pass to end


class SweepPanel(Panel):
    """Start a sweep and watch its curves sharpen; cancel it at any moment, and go on later.

    It runs in a thread of its own, on a copy of the network: other cells run meanwhile, and may use the network.
    ``state``, ``curves`` and ``tolerance`` can be observed; callbacks come from the sweep's thread.

    Parameters
    ----------
    graph, scores, task
        As in `fpgmlab.sweep`.
    path : path-like, optional
        Where the sweep keeps its progress, so that it goes on even after the kernel was restarted. In a temporary
        folder, which goes with the panel, when left out.
    ratios, metrics, max_samples, batch_size, dtype
        As in `fpgmlab.sweep`.
    tolerance : float, optional
        End each point when half its interval, in the first metric, is at most this. Can be assigned while no sweep is
        running; another tolerance is another sweep.
    large : bool
        Type and pictures for a room.

    Attributes
    ----------
    state : {"idle", "running", "cancelled", "finished", "failed"}
    curves : Curves or None
        What was found so far; None before the first batch.
    error : Exception or None
        Why the last sweep failed.

    Raises
    ------
    TypeError, ValueError
        For a path that is none, and without metrics; what else does not fit is shown when the sweep is started.
    traitlets.TraitError
        For a tolerance that is not above 0, here and when one is assigned.
    """

    _esm = script(_STATIC / "sweep.js")
    _css = sheet(_STATIC)
    _picture = sweep_picture

    state = traitlets.Enum(STATES, "idle", read_only=True).tag(sync=True)
    tolerance = traitlets.Float(None, allow_none=True).tag(sync=True)
    curves = traitlets.Instance(Curves, allow_none=True, read_only=True)
    grid = traitlets.Dict().tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        graph: ChannelGraph,
        scores: Mapping[str, Tensor],
        task: Task,
        *,
        path: str | os.PathLike[str] | None = None,
        ratios: Sequence[float] = RATIOS,
        metrics: str | Sequence[str] | None = None,
        max_samples: int | None = None,
        batch_size: int | None = None,
        dtype: str = "float32",
        tolerance: float | None = None,
        large: bool = False,
    ) -> None:
        self._what = (graph, scores, task)
        metrics = usual_metrics(task, USUAL) if metrics is None else metrics
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        if not metrics:
            raise ValueError("metrics must be at least one; got []")
        self._most = max_samples
        self._options: Options = {"ratios": ratios, "metrics": metrics, "max_samples": max_samples,
                                  "batch_size": batch_size, "dtype": dtype}  # fmt: skip
        self._path = None if path is None else as_path(path)
        self._own = tempfile.TemporaryDirectory(prefix="fpgmlab-sweep-") if path is None else None
        self._run: SweepRun | None = None
        self._pace = Pace()
        self._begun: float | None = None  # the tolerance of the last start
        self.error: Exception | None = None
        self._grid = empty_grid(graph, metrics)
        super().__init__(grid=dict(self._grid), tolerance=tolerance, large=large)
        self._show_status()
        self.observe(self._show_status, "tolerance")
        self.on_msg(self._clicked)

    @traitlets.validate("tolerance")
    def _above_zero(self, proposal: dict) -> float | None:
        value = proposal["value"]
        if value is not None and not value > 0:
            raise traitlets.TraitError(f"tolerance must be None or a number > 0; got {value}")
        if self.state == "running" and value != self.tolerance:
            raise traitlets.TraitError("the tolerance cannot change while the sweep is running: cancel() it first")
        return value

    def start(self, *, over: bool = False) -> None:
        """Start the sweep, or go on where it was.

        Parameters
        ----------
        over : bool
            Forget what was measured; only without ``path``.

        Raises
        ------
        RuntimeError
            While it is running.
        ValueError
            For ``over`` with a path, whose folder is not the panel's to delete.
        """
        with self._lock:
            if self.state == "running":
                raise RuntimeError("the sweep is running: cancel() it, or wait() for its end")
            if over:
                self._forget()
            tolerance, self.error = self.tolerance, None
            folder = self._path if self._own is None else Path(self._own.name) / f"tolerance {tolerance}"
            self._pace, self._begun = Pace(), tolerance
            options: Options = {**self._options, "path": folder, "tolerance": tolerance}
            try:
                self._run = SweepRun(*self._what, options, self._updated, self._ended)
            except Exception as error:  # a network that cannot be copied
                self._ended(None, error)
                return
            if self._own is not None:
                self._note_pace()
            self.set_trait("state", "running")
            self._show_status()
            self._run.start()

    def cancel(self) -> None:
        """Ask the sweep to end before its next forward pass; the batches that are through stay."""
        with self._lock:
            if self.state == "running" and self._run is not None:
                self._run.stop()
                self._show_status()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the sweep, ``timeout`` seconds at most; return whether it has come."""
        run = self._run
        return run is None or run.wait(timeout)

    def close(self) -> None:
        """End the sweep and take the panel off the screen; progress without ``path`` goes too."""
        run = getattr(self, "_run", None)  # ipywidgets closes what was never quite made, too
        if run is not None:
            run.stop()
            run.wait(_CLOSING)
        super().close()
        own = getattr(self, "_own", None)
        if own is not None:
            own.cleanup()

    # What comes from the sweep's thread ----------------------------------------------------------------------------

    def _updated(self, curves: Curves | None) -> None:
        with self._lock:
            if curves is not None:
                self._show_curves(curves)
            self._show_status()

    def _ended(self, curves: Curves | None, error: Exception | None) -> None:
        with self._lock:
            self.error = error
            if curves is not None and curves.base:
                self._show_curves(curves)
            complete = curves is not None and curves.complete
            done = "failed" if error is not None else "finished" if complete else "cancelled"
            self.set_trait("state", done)
            self._show_status()

    # On the screen -------------------------------------------------------------------------------------------------

    def _show_curves(self, curves: Curves) -> None:
        frame = curves.frame
        grid = filled_grid(self._grid, frame)
        if grid != self._grid:
            self._grid, self.grid = grid, dict(grid)
        self.points = points_payload(grid, frame)
        self.set_trait("curves", curves)
        self._note_pace()

    def _note_pace(self) -> None:
        now = self._extent()
        self._pace.note(time.monotonic(), 0.0 if now is None else now.done)

    def _extent(self) -> Extent | None:
        if self.curves is None:
            return None
        samples = len(self._what[2].val)
        total = samples if self._most is None else min(self._most, samples)
        return extent(self.curves.frame, self._grid["metrics"][0], total, self.tolerance)

    def _show_status(self, change: object = None) -> None:
        with self._lock:
            now, state, same = self._extent(), self.state, self.tolerance == self._begun
            run, clock = self._run if state == "running" else None, time.monotonic()
            left = None if now is None else self._pace.seconds_left(clock, now.left)
            passes, (metric, *_), (share, *_) = run.passes if run else 0, self._grid["metrics"], self._grid["shares"]
            words = status_words(state, metric, share, now, self.tolerance, left, passes)
            running, stopping = run is not None, run is not None and run.stopping
            goes_on = now is not None and same and state in ("cancelled", "failed")
            self.status = {
                "words": "Cancelling: a forward pass is still under way." if stopping else words,
                "share": 0.0 if now is None else now.share(self._pace.ahead(clock) if running else 0.0),
                "message": "" if self.error is None else in_words(self.error),
                "start": "Resume" if goes_on else "Start",
                "can_start": not running and not (state == "finished" and same),
                "can_cancel": running and not stopping,
                "can_start_over": self._own is not None and state not in ("idle", "running"),
                "unmeasurable": [] if self.curves is None else list(self.curves.unmeasurable),
            }

    def _forget(self) -> None:
        if self._own is None:
            words = f"to start anew delete {str(self._path)!r}, or choose another path"
            raise ValueError(f"only a sweep without path can start over; {words}")
        self._own.cleanup()
        self._own = tempfile.TemporaryDirectory(prefix="fpgmlab-sweep-")
        self.set_trait("curves", None)
        self.points = b""
        self._grid = empty_grid(self._what[0], self._grid["metrics"])
        self.grid = dict(self._grid)

    def _clicked(self, widget: object, content: dict, buffers: object) -> None:
        acts = {"start": self.start, "cancel": self.cancel, "start_over": lambda: self.start(over=True)}
        wish = content.get("do")
        with self._lock:  # a click may arrive when it is too late for it
            if wish in acts and self.status[f"can_{wish}"]:
                acts[wish]()

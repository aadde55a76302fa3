"""A thread that does step after step, and lets go of one as soon as something else is to be done."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from fpgmlab.widgets.common.worker import end_threads
from fpgmlab.widgets.desk.live.networks import Superseded

IDLE = 20.0  # seconds that the thread waits for more to do

Step = TypeVar("Step")


class Stepping(Generic[Step]):
    """Subclasses say what is next and do it; whoever calls a method holds the lock.

    Parameters
    ----------
    lock : threading.Condition
    """

    def __init__(self, lock: threading.Condition) -> None:
        self._lock, self._turn, self._closed = lock, 0, threading.Event()
        self._threads: list[threading.Thread] = []
        weakref.finalize(self, end_threads, self._closed, self._threads)

    def close(self) -> None:
        """End it."""
        self._closed.set()
        self._interrupt()

    def _next(self) -> Step | None:
        """Return what is to be done next, or None."""
        raise NotImplementedError

    def _do(self, step: Step, check: Callable[[], None]) -> None:
        """Do a step, without the lock; ``check`` raises `Superseded` when it is not wanted any more."""
        raise NotImplementedError

    def _rest(self) -> None:
        """Say that there is nothing to do."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        """Let go of the step under way; go on with what is next."""
        self._turn += 1
        self._start()

    def _start(self) -> None:
        if not self._threads and self._wanted() is not None:
            thread = threading.Thread(target=self._run, name="fpgmlab live", daemon=True)  # see `end_threads`
            self._threads.append(thread)
            thread.start()
        self._lock.notify_all()

    def _wanted(self) -> Step | None:
        return None if self._closed.is_set() else self._next()

    def _run(self) -> None:
        with self._lock:
            while self._lock.wait_for(lambda: self._closed.is_set() or self._next() is not None, IDLE):
                step = self._wanted()
                if step is None:  # closed
                    break
                turn = self._turn
                self._lock.release()
                try:
                    self._do(step, partial(self._check, turn))
                except Superseded:
                    pass
                finally:
                    self._lock.acquire()
                if self._wanted() is None:
                    self._rest()
                self._lock.notify_all()
            self._threads.clear()

    def _check(self, turn: int) -> None:
        if self._turn != turn or self._closed.is_set():
            raise Superseded

"""Things that are done a moment later, and once for many wishes."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Later:
    """Does something in a thread of its own, a moment after it was asked for first; further wishes until then join.

    Parameters
    ----------
    act : callable
        Never called by two threads at once.
    seconds : float
    """

    def __init__(self, act: Callable[[], None], seconds: float = 0.5) -> None:
        self._act, self._seconds = act, seconds
        self._timer: threading.Timer | None = None
        self._waiting = threading.Lock()  # for the timer
        self._acting = threading.Lock()

    def ask(self) -> None:
        """Have it done soon."""
        with self._waiting:
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self.now)
                self._timer.daemon = True  # a kernel that is shut down does not wait for it
                self._timer.name = "fpgmlab later"
                self._timer.start()

    def now(self) -> None:
        """Do it now if it was asked for; wait where it is being done."""
        with self._acting:
            with self._waiting:
                timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
                self._act()

"""Things that are done a moment later, and once for many wishes."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Later:
    """Does something in a thread of its own, a moment after it was asked for first; further wishes until then join.

    Parameters
    ----------
    act : callable
        May be called by two threads at once when it takes longer than the moment.
    seconds : float
    """

    def __init__(self, act: Callable[[], None], seconds: float = 0.5) -> None:
        self._act, self._seconds = act, seconds
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Have it done soon."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self._due)
                self._timer.daemon = True  # a kernel that is shut down does not wait for it
                self._timer.name = "fpgmlab later"
                self._timer.start()

    def cancel(self) -> None:
        """Take back what was asked for and has not begun."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _due(self) -> None:
        with self._lock:
            self._timer = None
        self._act()

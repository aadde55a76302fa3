"""Work in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """A thread for one piece of work, which can be asked to end.

    Parameters
    ----------
    name : str
        Of the work, such as "sweep".

    Attributes
    ----------
    thread : Thread or None
        In which it is done.
    """

    def __init__(self, name: str) -> None:
        self.thread: threading.Thread | None = None
        self._name = name
        self._stopping = threading.Event()

    def begin(self, work: Callable[[], None]) -> None:
        """Do it in the thread."""
        # A daemon: a kernel that is shut down does not wait for it.
        self.thread = threading.Thread(target=work, name=f"fpgmlab {self._name}", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Ask it to end soon."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, at most so many seconds; tell whether it has come. Its own callbacks do not wait."""
        if self.thread is None:
            return True
        if threading.current_thread() is not self.thread:
            self.thread.join(timeout)
        return not self.thread.is_alive()


def end_threads(closed: threading.Event, threads: list[threading.Thread]) -> None:
    """Let an interpreter that exits not meet the threads in the middle of a network."""
    closed.set()
    for thread in list(threads):
        thread.join(2)

"""A computation that can be halted in the middle of somebody else's code, and gone on with later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class _Closed(BaseException):
    """Unwinds a computation that nobody wants any more."""


class Parked:
    """A computation in a thread of its own that runs only while somebody waits for it in `resume`.

    Like a generator whose ``yield`` may be deep within code that knows nothing of it, such as a network's ``forward``.

    Parameters
    ----------
    body : callable
        Gets a function that halts: it hands over what it is given, and returns when the computation is resumed.
    """

    def __init__(self, body: Callable[[Callable[[object], None]], object]) -> None:
        self._go: SimpleQueue[bool] = SimpleQueue()
        self._told: SimpleQueue[tuple[str, object]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(body,), daemon=True)
        self._begun = self.finished = False
        self.result: object = None

    def resume(self) -> object:
        """Go on to the next halt and return what it hands over, None at the end; errors are raised here."""
        if not self._begun:
            self._begun = True
            self._thread.start()
        else:
            self._go.put(True)
        kind, value = self._told.get()
        if kind == "halt":
            return value
        self.finished = True
        self._thread.join()
        if kind == "raise":
            assert isinstance(value, BaseException)
            raise value
        self.result = value
        return None

    def close(self) -> None:
        """End a computation that was halted; nothing of it goes on."""
        if self._begun and not self.finished:
            self._go.put(False)
            self._thread.join()
        self.finished = True

    def _run(self, body: Callable[[Callable[[object], None]], object]) -> None:
        try:
            self._told.put(("return", body(self._halt)))
        except _Closed:
            pass
        except BaseException as error:  # raised anew by `resume`
            self._told.put(("raise", error))

    def _halt(self, value: object) -> None:
        self._told.put(("halt", value))
        if not self._go.get():
            raise _Closed

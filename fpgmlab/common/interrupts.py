"""Ctrl-C at a moment that bears it."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back(*, deliver: bool = True) -> Iterator[list[object]]:
    """Hold Ctrl-C back until the end of the block; nothing is done in other threads, where none arrives.

    Parameters
    ----------
    deliver : bool
        Whether it is delivered then. Else the list that is given tells, in the block and after it.
    """
    noted: list[object] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return
    signal.signal(signal.SIGINT, lambda *about: noted.append(about))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
    if noted and deliver:
        before(signal.SIGINT, None)


class Stopped(KeyboardInterrupt):
    """An end that was asked for otherwise than by Ctrl-C, or that was told already."""


def tell_interrupted(what: str, end: KeyboardInterrupt) -> None:
    """Say in a line that Ctrl-C has ended what returns what is finished, since the program goes on behind it.

    Parameters
    ----------
    what : str
        What was ended, and where.
    end : KeyboardInterrupt
        What ended it; nothing is said of `Stopped`.
    """
    if not isinstance(end, Stopped):
        log = logging.getLogger("fpgmlab")
        log.warning("Ctrl-C: %s. The program goes on with that; press Ctrl-C again to end it too.", what)

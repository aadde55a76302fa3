"""Ctrl-C at a moment that bears it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[list[object]]:
    """Note Ctrl-C instead of raising, in the list that is given; nothing is done in threads, where none arrives."""
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

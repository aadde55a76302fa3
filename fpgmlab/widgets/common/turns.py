"""Turns at the cores of a machine that a class shares; everywhere else, all go at once.

In: how urgent it is. Out: when to go. A class of thirty that measures on two cores would else need the memory of thirty
measurements at a time, and nobody would see anything until nearly all are done.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fpgmlab.common.trimming import trim_memory

SHARED = "FPGMLAB_TURNS"  # the environment variable with the address of who gives them
_LOOK = 0.1  # seconds between looks at whether it was cancelled
_PIECE = 0.25  # seconds after which somebody more urgent may come first


class Turn:
    """A turn, from `take` to `give`, or as a context.

    Parameters
    ----------
    rank : int
        The lowest goes first: 0 a first value, 1 what was asked for, 2 a repair, 3 more pictures, 4 a training.
    check : callable, optional
        Called ten times a second while waiting; may raise an exception.
    waiting : callable, optional
        Called when the turn does not come at once.

    Attributes
    ----------
    shared : bool
        Whether there are turns at all.
    """

    def __init__(
        self, rank: int, check: Callable[[], None] = lambda: None, waiting: Callable[[], None] = lambda: None
    ) -> None:
        self._rank, self._check, self._waiting = rank, check, waiting
        self._address = os.environ.get(SHARED, "")
        self._line: socket.socket | None = None
        self.shared, self._since, self._began = bool(self._address), time.time(), 0.0

    def __enter__(self) -> Turn:
        self.take()
        return self

    def __exit__(self, *exception: object) -> None:
        self.give()

    def take(self) -> None:
        """Wait until it is there."""
        if not self.shared:
            return
        self._line = line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(_LOOK)
        try:
            line.connect(self._address)
            self._ask(line)
        except BaseException:
            self.give()
            raise

    def pass_on(self) -> None:
        """Let those go first who are more urgent, if there are any; for what takes long, now and then."""
        if self._line is not None and time.monotonic() - self._began > _PIECE:
            self._ask(self._line)

    def give(self) -> None:
        """Give it back."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _ask(self, line: socket.socket) -> None:
        line.send(json.dumps({"turn": [self._rank, self._since]}).encode())
        told = False
        while True:
            try:
                if not line.recv(64):
                    self.shared = False  # who gave them has gone
                break
            except TimeoutError:
                self._check()
                if not told:
                    told = True
                    self._waiting()
                    trim_memory()  # who waits holds nothing that others could use
        self._began = time.monotonic()


@contextmanager
def in_turn(rank: int, check: Callable[[], None], waiting: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Hold a `Turn`; yield what to call now and then, which checks and lets go first who is more urgent."""
    with Turn(rank, check, waiting) as turn:

        def go_on() -> None:
            check()
            turn.pass_on()

        yield go_on


def give_back_memory() -> None:
    """Where a class shares the memory, give to the system what was freed: malloc keeps what large pictures took."""
    if os.environ.get(SHARED):
        trim_memory()

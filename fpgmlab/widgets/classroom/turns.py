"""Turns at the cores: how many kernels compute at the same time, and who is next."""

from __future__ import annotations

import heapq
import itertools
import socket
from dataclasses import dataclass, field

GO = b"go\n"


@dataclass
class Line:
    """Who computes, and who waits: the lowest rank first, of equal ones who came first.

    Parameters
    ----------
    places : int
        How many may compute at the same time.
    """

    places: int
    _waiting: list[tuple[float, float, int, socket.socket]] = field(default_factory=list)
    _served: set[socket.socket] = field(default_factory=set)
    _count: itertools.count = field(default_factory=itertools.count)

    def join(self, who: socket.socket, rank: float, since: float) -> None:
        """Wait for a turn; who has one gives it back first."""
        self._served.discard(who)
        heapq.heappush(self._waiting, (rank, since, next(self._count), who))
        self._next()

    def leave(self, who: socket.socket) -> None:
        """Give the turn back, or wait no more."""
        self._served.discard(who)
        self._waiting = [each for each in self._waiting if each[-1] is not who]
        heapq.heapify(self._waiting)
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._served) < self.places:
            who = heapq.heappop(self._waiting)[-1]
            try:
                who.sendall(GO)
            except OSError:  # it has gone: its socket will say so
                continue
            self._served.add(who)

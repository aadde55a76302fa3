"""The pages of a class: a visitor's desk, the teacher's board."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Container
from pathlib import Path

import tornado.web
from jupyter_core.utils import ensure_async
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.tornado.handler import TornadoVoilaHandler

from fpgmlab.widgets.classroom.board import COSTS, board, read_class

COOKIE = "seat"
HEADER = "X-Seat"  # what a kernel finds as `seat.SEAT` in its environment
# Stylesheets and scripts from elsewhere: a class has no network, and a page would wait for them.
_ELSEWHERE = re.compile(r'<link\b[^>]*"https?://[^>]*>|<script\b[^>]*\bsrc="https?://[^>]*>\s*</script>')
_BUDGETS = 20  # boards that are remembered
_KERNEL = re.compile(r'"kernelId": ?"([0-9a-f-]+)"')
_PAGE = (Path(__file__).parent / "static" / "teacher.html").read_text(encoding="utf-8")


class Seats:
    """Who sits where: a browser has a cookie, a number, and at most one kernel.

    Attributes
    ----------
    kernels : dict of int to str
        The last kernel of a seat.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # by cookie
        self.kernels: dict[int, str] = {}

    def of(self, cookie: str) -> tuple[str, int]:
        """Return the cookie, a new one unless it came from here, and its number."""
        if cookie not in self._numbers:
            cookie = secrets.token_hex(16)
            self._numbers[cookie] = len(self._numbers) + 1
        return cookie, self._numbers[cookie]

    def opened(self, kernels: Container[str]) -> list[int]:
        """Return the seats whose kernel is among these: the page of any other is closed."""
        return [number for number, kernel in self.kernels.items() if kernel in kernels]


class DeskPage(TornadoVoilaHandler):
    """A visitor's page: Voila's, with the number of a seat that the browser keeps."""

    def initialize(self, seats: Seats, **options: object) -> None:
        """Take what Voila's handler takes, and the seats."""
        self._seats = seats
        super().initialize(**options)

    async def get_generator(self, path: str | None = None) -> AsyncIterator[str]:
        """Yield the page, bit by bit."""
        cookie, number = self._seats.of(self.get_cookie(COOKIE) or "")
        before = self._seats.kernels.pop(number, None)
        if before in self.kernel_manager:  # the same page, loaded again: what it keeps goes on in one kernel
            await ensure_async(self.kernel_manager.shutdown_kernel(before))
        self.set_cookie(COOKIE, cookie, httponly=True, samesite="Lax")
        self.request.headers[HEADER] = str(number)  # whatever the browser may have said
        async for html in super().get_generator(path=path):
            if found := _KERNEL.search(html):
                self._seats.kernels[number] = found[1]
            yield _ELSEWHERE.sub("", html)


class DeskClosed(VoilaShutdownKernelHandler):
    """Ends a kernel whose page is closed, as the page asks for in its last moment."""

    def check_xsrf_cookie(self) -> None:
        """Take it without Jupyter's token, which Voila's page does not send: nobody else knows the kernel's number."""


class Boards:
    """Draws the teacher's board, the same one not more often than every few seconds, however many look at it.

    Parameters
    ----------
    folder : path
        In which the desks write.
    opened : callable
        Gives the numbers of the desks at which somebody sits.
    seconds : float
    """

    def __init__(self, folder: Path, opened: Callable[[], Collection[int]], seconds: float = 4.0) -> None:
        self._folder, self._opened, self._seconds = folder, opened, seconds
        self._lock = asyncio.Lock()
        self._drawn: dict[tuple[str, float], tuple[float, str]] = {}  # when, and what

    async def get(self, cost: str, share: float) -> str:
        """Return what `board` does, of now or of a moment ago."""
        async with self._lock:
            then, shown = self._drawn.get((cost, share), (float("-inf"), ""))
            if time.monotonic() - then > self._seconds:
                # Beside the loop: drawing takes a moment, in which desks must not wait.
                opened = self._opened()
                shown = await asyncio.to_thread(lambda: board(read_class(self._folder), cost, share, opened))
                if len(self._drawn) > _BUDGETS:
                    self._drawn.clear()
                self._drawn[cost, share] = (time.monotonic(), shown)
            return shown


class TeacherPage(tornado.web.RequestHandler):
    """The class's plans, who leads; looked at again every few seconds. Everybody may see it, nobody can change it."""

    def initialize(self, boards: Boards) -> None:
        """Take what draws."""
        self._boards = boards

    async def get(self, part: str) -> None:
        """Give the page, or the part of it that changes."""
        cost = self.get_query_argument("by", "ms")
        try:
            share = min(1.0, max(0.01, float(self.get_query_argument("percent", "50")) / 100))
        except ValueError:
            share = 0.5
        if cost not in COSTS:
            cost = "ms"
        shown = await self._boards.get(cost, share)
        self.set_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src 'self' data:")
        self.set_header("Cache-Control", "no-store")
        if part:
            self.finish(shown)
            return
        chosen = {f"{name.upper()}_SELECTED": " selected" if name == cost else "" for name in COSTS}
        page = _PAGE.replace("{BOARD}", shown).replace("{PERCENT}", f"{100 * share:g}")
        for name, word in chosen.items():
            page = page.replace(f"{{{name}}}", word)
        self.finish(page)

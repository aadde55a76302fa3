"""The pages of a class: a visitor's desk, the teacher's board."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import tornado.web
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.tornado.handler import TornadoVoilaHandler

from fpgmlab.widgets.classroom.board import COSTS, board, read_class

COOKIE = "seat"
HEADER = "X-Seat"  # what a kernel finds as `seats.SEAT` in its environment
# Stylesheets and scripts from elsewhere: a class has no network, and a page would wait for them.
_ELSEWHERE = re.compile(r'<link\b[^>]*"https?://[^>]*>|<script\b[^>]*\bsrc="https?://[^>]*>\s*</script>')
_PAGE = (Path(__file__).parent / "static" / "teacher.html").read_text(encoding="utf-8")


class DeskPage(TornadoVoilaHandler):
    """A visitor's page: Voila's, with the number of a seat that the browser keeps."""

    def initialize(self, seat_of: Callable[[str], tuple[str, int]], **options: object) -> None:
        """Take what Voila's handler takes, and a function from a cookie to a good one and its number."""
        self._seat_of = seat_of
        super().initialize(**options)

    async def get_generator(self, path: str | None = None) -> AsyncIterator[str]:
        """Yield the page, bit by bit."""
        cookie, number = self._seat_of(self.get_cookie(COOKIE) or "")
        self.set_cookie(COOKIE, cookie, httponly=True, samesite="Lax")
        self.request.headers[HEADER] = str(number)  # whatever the browser may have said
        async for html in super().get_generator(path=path):
            yield _ELSEWHERE.sub("", html)


class DeskClosed(VoilaShutdownKernelHandler):
    """Ends a kernel whose page is closed, as the page asks for in its last moment."""

    def check_xsrf_cookie(self) -> None:
        """Take it without Jupyter's token, which Voila's page does not send: nobody else knows the kernel's number."""


class TeacherPage(tornado.web.RequestHandler):
    """The class's plans, who leads; looked at again every few seconds. Everybody may see it, nobody can change it."""

    def initialize(self, folder: Path) -> None:
        """Take the folder in which the desks write."""
        self._folder = folder

    async def get(self, part: str) -> None:
        """Give the page, or the part of it that changes."""
        cost = self.get_query_argument("by", "ms")
        try:
            share = min(1.0, max(0.01, float(self.get_query_argument("percent", "50")) / 100))
        except ValueError:
            share = 0.5
        if cost not in COSTS:
            cost = "ms"
        # Beside the loop: drawing takes a moment, in which desks must not wait.
        shown = await asyncio.to_thread(lambda: board(read_class(self._folder), cost, share))
        self.set_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
        self.set_header("Cache-Control", "no-store")
        if part:
            self.finish(shown)
            return
        chosen = {f"{name.upper()}_SELECTED": " selected" if name == cost else "" for name in COSTS}
        page = _PAGE.replace("{BOARD}", shown).replace("{PERCENT}", f"{100 * share:g}")
        for name, word in chosen.items():
            page = page.replace(f"{{{name}}}", word)
        self.finish(page)

"""A classroom in a process of its own, and visitors who speak Voila's and the kernel's protocol as a page does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]


@contextmanager
def classroom(notebook: Path, *options: str, seconds: float = 300) -> Iterator[tuple[str, subprocess.Popen]]:
    """Open a classroom on loopback; yield its address and its process."""
    command = [
        sys.executable,
        "-m",
        "fpgmlab.widgets.classroom",
        str(notebook),
        "--ip=127.0.0.1",
        "--port=8970",
        *options,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            end = time.monotonic() + seconds
            for line in process.stdout:
                if found := re.match(r"The class: .*:(\d+)/", line):
                    break
                assert time.monotonic() < end, "the classroom takes too long"
            else:
                raise AssertionError(f"the classroom did not open: {process.wait()}")
            yield f"http://127.0.0.1:{found[1]}/", process
        finally:
            process.terminate()
            process.wait(20)


def memory(process: subprocess.Popen) -> float:
    """Return what a classroom takes in MB: the server, who forks and all kernels; what they share counts once."""
    return sum(_memory(pid) for pid in [process.pid, *_children(process.pid), *kernels(process)])


def _memory(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss: +(\d+)", text, re.M)[1]) / 1024


def kernels(process: subprocess.Popen) -> list[int]:
    """Return the numbers of the kernels' processes."""
    return [child for forking in _children(process.pid) for child in _children(forking)]


def _children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


class Visitor:
    """A page that is open: the desk's state as the kernel tells it."""

    def __init__(self, url: str) -> None:
        self.url, self.cookie = url, ""
        self.state: Json = {}
        self.opened = 0.0  # seconds from the request to the desk's whole state
        self.notices: list[str] = []
        self._session = uuid.uuid4().hex

    async def open(self) -> None:
        """Load the page, connect, and ask for the state of its widgets."""
        began = time.monotonic()
        headers = {"Cookie": self.cookie} if self.cookie else {}
        answer = await AsyncHTTPClient().fetch(HTTPRequest(self.url, headers=headers, request_timeout=60))
        self.cookie = "; ".join(each.split(";")[0] for each in answer.headers.get_list("Set-Cookie"))
        page = answer.body.decode()
        self.loads = re.findall(r"""\b(?:src|href)=["']?((?:https?:)?//[^"' >]+)""", page)
        self.kernel = re.search(r'"kernelId": "([0-9a-f-]+)"', page)[1]
        address = f"{self.url.replace('http', 'ws', 1)}api/kernels/{self.kernel}/channels?session_id={self._session}"
        self._socket = await websocket_connect(HTTPRequest(address, headers={"Cookie": self.cookie}))
        self.widgets: dict[str, Json] = {}
        control = uuid.uuid4().hex
        await self._send("comm_open", {"comm_id": control, "target_name": "jupyter.widget.control", "data": {}})
        await self._send("comm_msg", {"comm_id": control, "data": {"method": "request_states"}})
        while not self.widgets:
            message = _message(await asyncio.wait_for(self._socket.read_message(), 30))
            data = message["content"].get("data", {})
            if data.get("method") == "update_states":
                self.widgets = {key: each["state"] for key, each in data["states"].items()}
        self.desk, self.state = next((key, state) for key, state in self.widgets.items() if "kept" in state)
        self.opened = time.monotonic() - began
        self._news, self._reading = asyncio.Event(), asyncio.create_task(self._read())

    async def set(self, widget: str | None = None, **state: object) -> None:
        """Change traits, as a hand does."""
        data = {"method": "update", "state": state, "buffer_paths": []}
        await self._send("comm_msg", {"comm_id": widget or self.desk, "data": data})
        self.widgets[widget or self.desk].update(state)  # `self.state` is the desk's

    async def drag(self, kept: list[int]) -> float:
        """Move bars; return the seconds until the kernel has confirmed it."""
        began, revision = time.monotonic(), self.state["revision"] + 1
        await self.set(kept=kept, revision=revision)
        await self.until(lambda: self.state["confirmed"]["revision"] >= revision)
        return time.monotonic() - began

    async def ask(self, do: str, **options: object) -> None:
        """Send what a button sends."""
        data = {"method": "custom", "content": {"do": do, **options}}
        await self._send("comm_msg", {"comm_id": self.desk, "data": data})

    async def evaluate(self) -> float:
        """Have the plan measured; return the seconds until it is."""
        began, before = time.monotonic(), len(self.notices)
        await self.ask("evaluate")
        await self.until(lambda: self.state["work"]["state"] == "running" or len(self.notices) > before)
        await self.until(lambda: self.state["work"]["state"] != "running")
        assert self.state["work"]["state"] == "finished", (self.state["work"], self.notices)
        return time.monotonic() - began

    async def measured(self, network: str = "as cut", samples: int = 1) -> float:
        """Return the seconds until the desk shows what was measured by itself of the plan on it."""
        began = time.monotonic()

        def there() -> bool:
            live = self.state["live"]
            mine = live["kept"] == ",".join(map(str, self.state["kept"]))
            return mine and live["samples"].get(network, 0) >= samples

        await self.until(there)
        return time.monotonic() - began

    async def until(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            self._news.clear()
            assert not self._reading.done(), "the connection has gone"
            await asyncio.wait_for(self._news.wait(), max(0.01, end - time.monotonic()))

    async def close(self) -> None:
        """Go away without a word."""
        self._socket.close()
        await self._reading

    async def leave(self) -> None:
        """Go away as a page does that is closed: it says so."""
        await self.close()
        address = f"{self.url}voila/api/shutdown/{self.kernel}"
        await AsyncHTTPClient().fetch(HTTPRequest(address, method="POST", headers={"Cookie": self.cookie}, body=""))

    async def _read(self) -> None:
        """Read all that comes, as a page does; whoever does not read does not answer the server's pings."""
        while (text := await self._socket.read_message()) is not None:
            self._take(_message(text))
            self._news.set()
        self._news.set()

    def _take(self, message: Json) -> None:
        content = message["content"]
        if message["header"]["msg_type"] != "comm_msg" or content["data"].get("method") != "update":
            return
        state = content["data"]["state"]
        self.widgets.setdefault(content["comm_id"], {}).update(state)
        if content["comm_id"] == self.desk:
            self.state.update(state)
            if state.get("notice", {}).get("kind") == "error":
                self.notices.append(state["notice"]["words"])

    async def _send(self, kind: str, content: Json) -> None:
        header = {
            "msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self._session, "username": "visitor",
            "version": "5.3", "date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        metadata = {"version": "1.0.0"} if kind == "comm_open" else {}  # of the protocol of widgets
        message = {"header": header, "parent_header": {}, "metadata": metadata, "content": content, "channel": "shell"}
        await self._socket.write_message(json.dumps(message))


def _message(text: str | bytes) -> Json:
    """Return a message; one with buffers comes as bytes: their places, then JSON."""
    if isinstance(text, bytes):
        count = int.from_bytes(text[:4], "big")
        first = int.from_bytes(text[4:8], "big")
        after = int.from_bytes(text[8:12], "big") if count > 1 else len(text)
        text = text[first:after].decode()
    return json.loads(text)


def board(url: str, **query: str) -> str:
    """Return the changing part of the teacher's page."""
    words = "&".join(f"{name}={value}" for name, value in query.items())
    with urllib.request.urlopen(f"{url}teacher/board?{words}", timeout=30) as answer:
        return answer.read().decode()

"""The process that forks: it has imported and loaded all that a visitor's kernel needs, and gives turns at the cores.

``python -m fpgmlab.widgets.classroom.warm FOLDER NOTEBOOK`` runs the notebook's cells with the tag `PREPARE` once. Each
kernel starts with their variables and shares their pages until it writes on them. Nothing that starts a thread may run
before: a fork takes only the thread that asks for it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
from ipywidgets import Widget, register_comm_target

from fpgmlab.common.trimming import trim_memory
from fpgmlab.widgets.classroom.turns import Line
from fpgmlab.widgets.desk.editor import PlanEditor
from fpgmlab.widgets.desk.live.measurer import make_ready

PREPARE = ("parameters", "prepare")  # tags of cells that run once for all
SOCKET = "warm.sock"
READY = b"ready\n"  # on the standard output, when kernels can be asked for
_IMPORTS = ("IPython", "ipykernel.ipkernel", "ipykernel.kernelapp", "fpgmlab.widgets")
_ROOM = 2 << 30  # bytes of addresses that a kernel may take beyond what it shares
_LONGEST = 1 << 20  # bytes of an order


def prepared(notebook: Path) -> dict[str, Any]:
    """Run the cells with the tag `PREPARE`; return their variables.

    Raises
    ------
    ValueError
        For a notebook without such cells.
    """
    cells = _code(notebook)
    if not any(map(is_prepared, cells)):
        raise ValueError(f"no cell of {notebook.name} has the tag 'prepare': nothing to share between visitors")
    names: dict[str, Any] = {"__name__": "__main__"}
    _run([each for each in cells if is_prepared(each)], names, notebook)
    return names


def rehearse(notebook: Path, names: dict[str, Any]) -> None:
    """Run the other cells once and use their desks, so that what a first time imports and compiles is there for all."""
    names = dict(names)
    _run([each for each in _code(notebook) if not is_prepared(each)], names, notebook)
    for desk in [each for each in names.values() if isinstance(each, PlanEditor)]:
        desk.fit_budget(macs=0.5)
        for work in (desk.evaluate, desk.repair):
            desk.wait()
            work()
        desk.wait()
        desk.close()
        live = desk._live
        for thread in list(live._threads):
            thread.join()
        if live._measurer is not None and live._task is not None:  # it knows what all plans have in common
            make_ready(live._graph, live._task, live._metrics, live._measurer)
    Widget.close_all()
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.SGD([parameter], lr=0.1).step()  # imports much; without autograd, which does not outlive a fork


def is_prepared(cell: dict) -> bool:
    """Whether a cell runs once for all visitors."""
    return not {*PREPARE}.isdisjoint(cell.get("metadata", {}).get("tags", ()))


def _code(notebook: Path) -> list[dict]:
    return [each for each in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if each["cell_type"] == "code"]


def _run(cells: list[dict], names: dict[str, Any], notebook: Path) -> None:
    for number, cell in enumerate(cells, 1):
        exec(compile("".join(cell["source"]), f"<cell {number} of {notebook.name}>", "exec"), names)


class Warm:
    """Forks a kernel for each order that comes in at a socket, and tells when it has ended.

    Parameters
    ----------
    address : path
        Of the socket.
    names : dict
        The variables that kernels start with.
    turns : int
        How many may compute at the same time.
    """

    def __init__(self, address: Path, names: dict[str, Any], turns: int) -> None:
        self._names, self._line = names, Line(turns)
        self._kernels: dict[int, socket.socket] = {}  # who asked, by the kernel's number
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # a message is an order
        self._server.bind(os.fspath(address))
        self._server.listen(128)
        self._selector.register(self._server, selectors.EVENT_READ, self._accept)
        # Whoever started this holds the other end of the standard input: when that closes, the class is over.
        self._selector.register(sys.stdin.buffer, selectors.EVENT_READ, self._over)
        self._open = True

    def serve(self) -> None:
        """Until the class is over; then no kernel remains."""
        while self._open:
            for key, _ in self._selector.select():
                key.data(key.fileobj)
        for pid in self._kernels:
            os.kill(pid, signal.SIGKILL)

    def _accept(self, server: socket.socket) -> None:
        client, _ = server.accept()
        self._selector.register(client, selectors.EVENT_READ, self._asked)

    def _over(self, stream: object) -> None:
        self._open = False

    def _asked(self, client: socket.socket) -> None:
        """Read an order: for a kernel, or for a turn."""
        try:
            order = json.loads(client.recv(_LONGEST))
        except (OSError, ValueError):  # it has gone
            self._selector.unregister(client)
            self._line.leave(client)
            client.close()
            return
        if "turn" in order:
            self._line.join(client, *order["turn"])
        else:
            self._selector.unregister(client)
            self._fork(client, order)

    def _fork(self, client: socket.socket, order: dict) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                lines = (*self._kernels.values(), client)
                known = [key.fd for key in self._selector.get_map().values()]
                for number in (*known, *(line.fileno() for line in lines)):
                    if number:  # the standard input is dealt with below
                        os.close(number)
                _be_kernel(order, self._names, parent)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)  # without the parent's own last deeds
        self._kernels[pid] = client
        client.sendall(b"%d" % pid)
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, lambda handle: self._ended(handle, pid))

    def _ended(self, handle: int, pid: int) -> None:
        self._selector.unregister(handle)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        client = self._kernels.pop(pid)
        with contextlib.suppress(OSError):  # nobody waits for it
            client.sendall(b"%d" % os.waitstatus_to_exitcode(status))
        client.close()


def _be_kernel(order: dict, names: dict[str, Any], parent: int) -> None:
    """Be a Jupyter kernel until it is told to end."""
    os.setsid()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + _ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))  # one visitor shall not take the memory of all
    os.environ.clear()
    os.environ.update(order["env"])
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance(user_ns=dict(names), parent_handle=parent)
    app.initialize([*order["arguments"], "--HistoryManager.enabled=False"])
    register_comm_target()  # ipywidgets does so when it is imported, in a kernel
    app.start()
    atexit._run_exitfuncs()  # such as what desks have still to write


def main(folder: str, notebook: str, turns: str) -> None:
    """Prepare, then fork."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread beside bars
    for module in _IMPORTS:
        importlib.import_module(module)
    place = Path(notebook).resolve()
    os.chdir(place.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kernel would show them to nobody
        names = prepared(place)
        rehearse(place, names)
    if others := threading.enumerate()[1:]:
        print("classroom: threads of prepared cells do not reach the visitors' kernels:", others, file=sys.stderr)
    gc.collect()
    gc.freeze()  # a collection in a kernel would write on every page
    trim_memory()
    warm = Warm(Path(folder) / SOCKET, names, int(turns))
    os.write(1, READY)
    warm.serve()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    main(*sys.argv[1:])

"""The command behind ``make classroom``: Voila whose kernels are forked, and the teacher's page."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import nbformat
from jupyter_client.provisioning import KernelProvisionerFactory
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError
from traitlets import Int
from traitlets.config import Config
from voila.app import Voila

from fpgmlab.widgets.classroom.kernels import NAME, ForkedKernels
from fpgmlab.widgets.classroom.pages import HEADER, Boards, DeskClosed, DeskPage, Seats, TeacherPage
from fpgmlab.widgets.classroom.warm import READY, SOCKET, is_prepared
from fpgmlab.widgets.common.seat import FOLDER
from fpgmlab.widgets.common.turns import SHARED


class Classroom(Voila):
    """Opens a notebook's desk to a class; ``start`` returns when that is over."""

    examples = "python -m fpgmlab.widgets.classroom notebooks/05_classroom_desk.ipynb --port 8866 --visitors 40"
    aliases: ClassVar[dict[str, str]] = {**Voila.aliases, "visitors": "Classroom.visitors", "ip": "Voila.ip"}
    visitors = Int(40, help="How many desks may be open at the same time.").tag(config=True)

    def initialize(self, argv: list[str] | None = None) -> None:
        """Set what differs from Voila's own, before the command line is read."""
        self.folder = Path(tempfile.mkdtemp(prefix="classroom-"))  # for the eyes of this user only
        address, plans = str(self.folder / SOCKET), self.folder / "plans"
        plans.mkdir()
        os.environ |= {SHARED: address, FOLDER: str(plans)}  # kernels inherit it
        voila = {"prelaunch_hook": self.admit, "http_header_envs": [HEADER]}
        # A kernel whose page is gone ends; one that computes or is looked at does not.
        cull = {"cull_idle_timeout": 300, "cull_interval": 30, "cull_connected": False}
        settings = {
            "Voila": {"ip": "0.0.0.0", "open_browser": True, "log_level": "ERROR"},
            "VoilaConfiguration": voila,
            "MappingKernelManager": cull,
            "KernelManager": {"shutdown_wait_time": 1.0, "transport": "ipc"},
            "ForkedKernels": {"address": address},
        }
        self.update_config(Config(settings))
        super().initialize(argv)
        logging.getLogger("tornado").setLevel(logging.ERROR)
        factory = KernelProvisionerFactory.instance()
        place = f"{ForkedKernels.__module__}:{ForkedKernels.__qualname__}"
        factory.provisioners[NAME] = EntryPoint(NAME, place, KernelProvisionerFactory.GROUP_NAME)
        factory.default_provisioner_name = NAME

    def start(self) -> None:
        """Prepare the notebook in the process that forks, then open the door."""
        if sys.platform != "linux":
            raise SystemExit("classroom: kernels are forked on Linux only; elsewhere: voila NOTEBOOK, 1.1 GB a visitor")
        if not self.notebook_path:
            raise SystemExit(f"classroom: which notebook? {self.examples}")
        print("Preparing the desks; this takes half a minute.", flush=True)
        environment = {name: value for name, value in os.environ.items() if name != SHARED}
        environment |= {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}  # a pool of threads would not be forked
        cores = len(os.sched_getaffinity(0))
        program = [sys.executable, "-m", "fpgmlab.widgets.classroom.warm"]
        command = [*program, str(self.folder), self.notebook_path, str(cores)]
        try:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as warm:
                assert warm.stdin is not None
                assert warm.stdout is not None
                try:
                    if warm.stdout.readline() != READY:
                        raise SystemExit("classroom: the desks could not be prepared, see above")
                    super().start()
                finally:
                    warm.stdin.close()  # it ends, and the kernels with it
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def init_handlers(self) -> list:
        """Add the teacher's page, and put the visitor's in the place of Voila's."""
        *others, (pattern, _, options) = super().init_handlers()
        seats = Seats()
        boards = Boards(self.folder / "plans", lambda: seats.opened(self.kernel_manager))
        mine = [
            (rf"{self.server_url}teacher(|/board)", TeacherPage, {"boards": boards}),
            (rf"{self.server_url}voila/api/shutdown/([\w-]+)", DeskClosed),
        ]
        return [*mine, *others, (pattern, DeskPage, options | {"seats": seats})]

    def launch_browser(self) -> None:
        """Say where it is, now that the port is known; the browsers are elsewhere."""
        print(addresses(self.port), flush=True)

    def admit(self, handler: JupyterHandler, notebook: nbformat.NotebookNode, cwd: str) -> nbformat.NotebookNode:
        """Give a visitor the notebook without the cells that were run for all, if there is a desk left."""
        if len(handler.kernel_manager.list_kernel_ids()) >= self.visitors:
            raise HTTPError(503, f"All {self.visitors} desks are taken.")
        notebook.cells = [cell for cell in notebook.cells if not is_prepared(cell)]
        return notebook


def addresses(port: int) -> str:
    """Return where the class finds this machine, in words."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which way that would go
            here = probe.getsockname()[0]
        except OSError:
            here = "127.0.0.1"
    return f"\nThe class:    http://{here}:{port}/\nThe teacher:  http://{here}:{port}/teacher\nCtrl-C ends it.\n"


main = Classroom.launch_instance

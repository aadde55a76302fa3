"""How Voila comes by a kernel: the warm process forks one."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Unicode

NAME = "fpgmlab-forked"  # of the provisioner


class Forked:
    """A kernel that another process forked, as `subprocess.Popen` would show it.

    Parameters
    ----------
    address : str
        The warm process's socket.
    order : dict
        The kernel's arguments, environment and folder.

    Attributes
    ----------
    pid : int
    returncode : int or None
        Once it has ended.
    """

    stdin = stdout = stderr = None

    def __init__(self, address: str, order: dict) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(address)
        self._line.sendall(json.dumps(order).encode())
        self.pid = int(self._line.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or None when it has not."""
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Wait for its end; return how it ended."""
        if self.returncode is None:
            answer = self._line.recv(64)  # nothing when the warm process itself has gone
            self.returncode = int(answer) if answer else -signal.SIGKILL
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal while it is there."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class ForkedKernels(LocalProvisioner):
    """A provisioner whose kernels are forked by the warm process."""

    address = Unicode(help="The warm process's socket.").tag(config=True)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Have one forked; a tenth of a second."""
        env = {name: str(value) for name, value in kwargs["env"].items()}
        order = {"arguments": cmd[cmd.index("-f") :], "env": env}
        process: Any = await asyncio.to_thread(Forked, self.address, order)
        self.process, self.pid, self.pgid = process, process.pid, process.pid
        return self.connection_info

"""The head of a study: what it is called, which command makes it, when, where and with which version."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

import fpgmlab
from fpgmlab.common.repository import git_state


def record(name: str, *, title: str, command: str, machine: str | None = None) -> dict[str, dict[str, str]]:
    """Return the head that a study is stored with, for the front of its JSON.

    Parameters
    ----------
    name : str
        Of its file in ``data/results/``, without ending.
    title : str
        What it tells, in a few words.
    command : str
        That makes it anew, from the root of the checkout.
    machine : str, optional
        What it was measured on; `machine()` when left out.

    Returns
    -------
    dict
        ``{"study": {name, title, command, machine, date, version}}``: today's date, in UTC, and the version as
        `part` has it.

    Examples
    --------
    >>> head = record("mine", title="What my criterion is worth", command="python mine.py")
    >>> list(head["study"])
    ['name', 'title', 'command', 'machine', 'date', 'version']
    """
    return {"study": {"name": name, "title": title, **part(command, machine=machine)}}


def part(command: str, *, machine: str | None = None) -> dict[str, str]:
    """Return the head of one part of a study, where parts are measured one by one.

    Parameters
    ----------
    command : str
        That measures this part anew.
    machine : str, optional
        What it was measured on; `machine()` when left out.

    Returns
    -------
    dict
        ``command``, ``machine``, ``date``, ``version``: fpgmlab's, with the commit of the checkout that it lies in and
        ``dirty`` where files of it were changed (``0.1.0+665ecc7.dirty``).
    """
    where = _machine() if machine is None else machine
    return {"command": command, "machine": where, "date": f"{datetime.now(UTC):%Y-%m-%d}", "version": _version()}


def machine(*more: str, threads: int | None = None) -> str:
    """Return this machine in words: its kind, the threads that torch may use, torch's version.

    Parameters
    ----------
    *more : str
        What else matters for the figures: a runtime with its version, what ran beside.
    threads : int, optional
        How many each network had, where that is not for torch to say.

    Examples
    --------
    >>> machine("onnxruntime 1.32.0", threads=1).split(", ")[1::2]
    ['1 thread', 'onnxruntime 1.32.0']
    """
    count = torch.get_num_threads() if threads is None else threads
    threads_ = "1 thread" if count == 1 else f"{count} threads"
    return ", ".join([platform.machine(), threads_, f"torch {torch.__version__}", *more])


_machine = machine  # where an argument has its name


def _version() -> str:
    checkout = Path(fpgmlab.__file__).resolve().parents[1]
    # Of no other repository that an environment lies in.
    state = git_state(checkout, checkout / "data" / "results") if (checkout / ".git").exists() else None
    if state is None:
        return fpgmlab.__version__
    return f"{fpgmlab.__version__}+{str(state['revision'])[:7]}{'.dirty' if state['dirty'] else ''}"

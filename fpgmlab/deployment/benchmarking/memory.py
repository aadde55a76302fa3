"""The peak of memory of a session, in a process that does nothing else."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.converters.report import arrays
from fpgmlab.deployment.runtimes import RUNTIMES
from fpgmlab.deployment.runtimes.runtime import Source

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Job:
    """What to open, and where."""

    runtime: str
    source: Source
    example: Arguments
    threads: int


def peaks(jobs: Sequence[Job]) -> list[float]:
    """Return the bytes by which opening and running each job makes a process grow at most; NaN where it cannot be told.

    Needs ``/proc`` and ``fork``; a model whose class another process cannot import is not measured.
    """
    if not STATUS.exists() or not hasattr(os, "fork"):
        return [math.nan] * len(jobs)
    with TemporaryDirectory() as folder:
        for number, job in enumerate(jobs):
            (Path(folder) / str(number)).write_bytes(_packed(job))
        code = f"from {__name__} import main; main({folder!r}, {len(jobs)})"
        # Of one thread, so that it can fork.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
    lines = done.stdout.splitlines()
    return (
        [float(value) for value in json.loads(lines[-1])] if lines and not done.returncode else [math.nan] * len(jobs)
    )


def _packed(job: Job) -> bytes:
    try:
        return pickle.dumps(job)
    except Exception:  # a local class, a lambda: pickle raises many kinds
        return b""


def main(folder: str, count: int) -> None:
    """Print the growth of each job as JSON; a child for each, which has loaded nothing but its runtime."""
    found = []
    for number in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, str(_growth((Path(folder) / str(number)).read_bytes())).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            text = told.read()
        os.waitpid(child, 0)
        found.append(float(text or "nan"))
    print(json.dumps(found))


def _growth(packed: bytes) -> int:
    torch.set_num_threads(1)
    before = 0
    job = pickle.loads(packed)
    runtime = RUNTIMES[job.runtime]
    runtime.awake()
    with runtime.threads(job.threads):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _kilobytes("VmRSS")
        session = runtime.open(job.source, job.example, job.threads)
        for _ in range(2):
            session.run(arrays(job.example))
    own = session.bytes if isinstance(job.source, nn.Module) else 0  # it was there before
    return 1024 * (_kilobytes("VmHWM") - before) + own


def _kilobytes(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])

"""Kills sweeps and resumes them. A process of its own: it has one thread only, so that it can fork cheap children.

``python -m tests.sensitivity.store.killing FOLDER MOMENTS`` prints a JSON list with one entry for each kill.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import torch
from pyarrow import parquet

import fpgmlab as fl
from tests.conftest import blobs


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child(action: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def samples(curves: fl.Curves) -> int:
    return max(part.samples for part in curves.whole.values())


def before_replacing() -> None:
    os.replace = lambda *_: kill()


def after_replacing() -> None:
    replace = os.replace
    os.replace = lambda *args: (replace(*args), kill())


def after_replacing_twice() -> None:
    replace, calls = os.replace, iter(range(2))
    os.replace = lambda *args: (replace(*args), next(calls, None) is None and kill())


def within_a_file() -> None:
    def half(table: object, path: Path) -> None:
        Path(path).write_bytes(b"PAR1 and then no more")
        kill()

    parquet.write_table = half


def before_removing() -> None:
    os.rmdir = lambda *_: kill()


def main(folder: Path, moments: int) -> list[dict]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = fl.tasks.Classification(blobs(8), blobs(36, seed=1), classes=3)
    graph = fl.trace(fl.models.build("resnet20", classes=3, channels=1, width=0.25), task.example_input)
    scores = fl.score(graph, "l1")

    def sweep(path: Path, on_update: Callable | None = None) -> None:
        options = {"ratios": (0.5,), "batch_size": 3, "tolerance": 0.08, "progress": False}
        fl.sweep(graph, scores, task, path=path, on_update=on_update, **options)

    sweep(folder / "first")  # imports and all that, which the children then have
    times = []
    sweep(folder / "whole", lambda _: times.append(time.perf_counter()))
    seconds = times[-1] - times[0]  # after the first part

    kills = []
    draw = random.Random(0)
    for number in range(moments):
        path = folder / f"moment-{number}"
        pid = child(lambda: sweep(path))  # noqa: B023 (called at once)
        while number and not (path / "curves.parquet").exists():  # the first one may fall before the first part
            time.sleep(0.001)
        # One in each part of the time, so that they are spread over the sweep.
        time.sleep(seconds * (number + draw.random()) / moments)
        os.kill(pid, signal.SIGKILL)
        kills.append({"folder": f"moment-{number}", "status": status(pid)})
    for name in ("before_replacing", "after_replacing", "after_replacing_twice", "within_a_file", "before_removing"):
        code = status(child(lambda: (globals()[name](), sweep(folder / name))))  # noqa: B023
        kills.append({"folder": name, "status": code})
    for entry in kills:
        path = folder / entry["folder"]
        entry["done"] = samples(fl.Curves.load(path)) if any(path.glob("*.parquet")) else 0
        entry["resumed"] = status(child(lambda: sweep(path)))  # noqa: B023
    whole = fl.Curves.load(folder / "whole")
    for entry in kills:
        curves = fl.Curves.load(folder / entry["folder"])
        pandas.testing.assert_frame_equal(curves.frame, whole.frame, check_exact=True)
        entry["identical"] = (curves.sums, curves.whole, curves.changes) == (whole.sums, whole.whole, whole.changes)
        entry["left"] = sorted(p.name for p in (folder / entry["folder"]).iterdir())
    return kills


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))

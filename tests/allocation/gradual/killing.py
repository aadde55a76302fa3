"""Kills gradual prunings and goes on with them; a process of its own with one thread, which forks cheap children.

``python -m tests.allocation.gradual.killing FOLDER`` prints a JSON object with an entry for each kill.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import fpgmlab as fl
from fpgmlab.recovery.repairing import layer
from tests.allocation.gradual.made import network, same
from tests.allocation.gradual.test_resumed import BETWEEN, prune
from tests.sensitivity.store.killing import child, kill, status


def on_call(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that kills this process before its call of a number, and else does what it did."""
    calls = iter(range(1, number))

    def killing(*args: Any, **options: Any) -> Any:
        return function(*args, **options) if next(calls, None) is not None else kill()

    return killing


def in_the_training() -> None:
    torch.optim.SGD.step = on_call(8, torch.optim.SGD.step)  # the second epoch of the second step


def in_a_repair() -> None:
    layer.refitted = on_call(3, layer.refitted)  # the third layer of the first step


def before_writing(number: int) -> None:
    os.replace = on_call(number, os.replace)


def within_a_file() -> None:
    def half(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"no more than this")
        kill()

    calls = iter(range(2))
    write = safetensors.torch.save_file
    safetensors.torch.save_file = lambda *a, **o: write(*a, **o) if next(calls, None) is not None else half(*a, **o)


def main(folder: Path) -> dict[str, dict[str, Any]]:
    torch.set_num_threads(1)
    whole, _ = prune(folder / "whole", between=BETWEEN)
    moments = {
        "head": partial(before_writing, 1), "unpruned": partial(before_writing, 2),
        "checkpoint": partial(before_writing, 10), "last": partial(before_writing, 11),
        "training": in_the_training, "repair": in_a_repair, "file": within_a_file,
    }  # fmt: skip
    kills = {}
    for name, moment in moments.items():
        path = folder / name
        entry: dict[str, Any] = {"status": status(child(lambda: (moment(), prune(path))))}  # noqa: B023
        entry["files"] = len(list(path.glob("*.safetensors")))
        entry["checkpoints"] = len(list(path.glob("step-*/fit-*.pt")))
        entry["resumed"] = status(child(lambda: prune(path)))  # noqa: B023
        small = fl.load(path / "step-003.safetensors", network())
        entry["identical"] = same(small, whole) and fl.provenance(small) == fl.provenance(whole)
        entry["left"] = sorted(left.name for left in path.iterdir())
        kills[name] = entry
    return kills


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

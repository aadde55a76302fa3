"""The processes that ``accelerate launch`` started for a run: the first does all, the others only train along."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from fpgmlab.runs.bench import Bench
from fpgmlab.runs.folder import differences, plain
from fpgmlab.runs.steps import trained
from fpgmlab.runs.way import Way

PAUSE = 0.2  # seconds from one look to the next
PATIENCE = 60.0  # seconds after which somebody says what is waited for


def number() -> int:
    """Return which of the launched processes this is, from 0; 0 where nothing was launched."""
    return int(os.environ.get("RANK", "0")) if "LOCAL_RANK" in os.environ else 0


def train_along(way: Way, bench: Bench, configs: Mapping[str, Mapping[str, Any]], say: Callable[[str], None]) -> None:
    """Wait until the first process has done what comes before the training, and take part in that.

    When the first process fails, the launcher ends this one.
    """
    if "fit" not in configs:
        return
    steps = list(configs)
    for step in steps[: steps.index("fit") + 1]:
        state = _awaited(step, way, bench, configs[step], say)
    if state == "begun":
        trained(bench, way.before("fit"))


def _awaited(step: str, way: Way, bench: Bench, config: Mapping[str, Any], say: Callable[[str], None]) -> str:
    """Return the state of a step, of this run, once the first process has finished it; a training need only begin."""
    began, told = time.monotonic(), False
    while True:
        record = bench.folder.record(step)
        if record is not None and not differences(record["config"], plain(config)):
            if record["state"] == "finished" or step == "fit":
                return str(record["state"])
        elif not told and time.monotonic() - began > PATIENCE and os.environ["LOCAL_RANK"] == "0":
            say(f"waits for {step!r} in {str(bench.folder.path)!r}, a folder that all machines must share")
            told = True
        time.sleep(PAUSE)

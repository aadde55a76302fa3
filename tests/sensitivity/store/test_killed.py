"""A sweep that is killed at any moment goes on and ends as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("count", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_the_same(count: int, tmp_path: Path):
    one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sensitivity.store.killing", str(tmp_path), str(count)],
        cwd=ROOT,
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    kills = {entry["folder"]: entry for entry in json.loads(done.stdout)}
    assert len(kills) == count + 5
    moments = [entry for name, entry in kills.items() if name.startswith("moment")]
    # On a busy machine a moment may come too early or too late.
    assert sum(entry["status"] == -signal.SIGKILL for entry in moments) >= count // 2
    assert len({entry["done"] for entry in moments}) >= min(3, count // 2)
    assert all(kills[name]["status"] == -signal.SIGKILL for name in kills if not name.startswith("moment"))
    for name, entry in kills.items():
        assert entry["resumed"] == 0, name
        assert entry["identical"], name
        assert entry["left"] == [".lock", "curves.json", "curves.parquet"], name

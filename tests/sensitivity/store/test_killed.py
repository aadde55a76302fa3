"""A sweep that is killed at any moment goes on and ends as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_killed_at_any_moment_it_ends_the_same(tmp_path: Path):
    one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sensitivity.store.killing", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    kills = {entry["folder"]: entry for entry in json.loads(done.stdout)}
    assert len(kills) == 15
    moments = [entry for name, entry in kills.items() if name.startswith("moment")]
    # On a busy machine a moment may come too early or too late.
    assert sum(entry["status"] == -signal.SIGKILL for entry in moments) >= 6
    assert len({entry["done"] for entry in moments}) >= 3
    assert all(kills[name]["status"] == -signal.SIGKILL for name in kills if not name.startswith("moment"))
    for name, entry in kills.items():
        assert entry["resumed"] == 0, name
        assert entry["identical"], name
        assert entry["left"] == [".lock", "curves.json", "curves.parquet"], name

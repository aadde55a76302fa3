#!/usr/bin/env python
"""How quick the plan editor is in a real JupyterLab: ``python tests/benchmarks/desk.py`` writes data/results/desk.json.

The numbers are the browser's own: milliseconds from a pointer's move to the painted picture, from its release to the
kernel's confirmed totals, and to what is measured; and those that the kernel takes to make the desk. On a quiet
machine, 10 minutes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import pytest

import fpgmlab as fl

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = ROOT / "data" / "results" / "desk.json"


def main() -> None:
    os.environ |= {"FPGMLAB_DESK_RESULTS": str(OUTPUT), "FPGMLAB_REQUIRE_BROWSER": "1"}
    os.environ["FPGMLAB_LAB_THREADS"] = str(os.cpu_count())  # as a reader's kernel has them
    head = fl.studies.record(
        "desk",
        title="How quick the plan editor answers in a real JupyterLab",
        command="python tests/benchmarks/desk.py",
        machine=f"{platform.machine()}, {os.cpu_count()} CPUs",
    )
    OUTPUT.write_text(json.dumps(head))
    files = [str(ROOT / "tests" / "browser" / name) for name in ("test_desk_speed.py", "test_desk_live.py")]
    code = pytest.main([*files, "-q", "-n", "0"])
    print(OUTPUT.read_text())
    sys.exit(code)


if __name__ == "__main__":
    main()

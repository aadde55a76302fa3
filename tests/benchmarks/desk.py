#!/usr/bin/env python
"""How quick the plan editor is in a real JupyterLab: ``python tests/benchmarks/desk.py`` writes data/results/desk.json.

The numbers are the browser's own: milliseconds from a pointer's move to the painted picture, from its release to the
kernel's confirmed totals; and those that the kernel takes to make the desk. On a quiet machine, 2 minutes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = ROOT / "data" / "results" / "desk.json"


def main() -> None:
    os.environ |= {"FPGMLAB_DESK_RESULTS": str(OUTPUT), "FPGMLAB_REQUIRE_BROWSER": "1"}
    OUTPUT.write_text(
        json.dumps(
            {"command": "python tests/benchmarks/desk.py", "machine": f"{platform.machine()}, {os.cpu_count()} CPUs"}
        )
    )
    code = pytest.main([str(ROOT / "tests" / "browser" / "test_desk_speed.py"), "-q"])
    print(OUTPUT.read_text())
    sys.exit(code)


if __name__ == "__main__":
    main()

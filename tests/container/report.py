"""Write ``data/results/container.json`` from what a run of ``build.sh`` left: ``python3 report.py FOLDER``.

The system's Python runs this: nothing but the standard library.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import sys
from pathlib import Path

OUTPUT = Path(__file__).resolve().parents[2] / "data" / "results" / "container.json"
FIGURES = ("accuracy", "drop_points_repaired", "drop_points", "cost", "latency_ms", "parameters")


def report(folder: Path) -> dict[str, object]:
    """Return what the files in the folder tell."""
    contents, status, quickstart = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("contents", "status", "report")
    )
    rows = [line.split("\t") for line in (folder / "seconds.tsv").read_text().splitlines()]
    images = [line.split(maxsplit=1) for line in (folder / "sizes").read_text().splitlines()]
    tools = re.findall(r"^(\w+).*? (\d\S*)", (folder / "tools").read_text(), re.MULTILINE)
    return {
        "study": {  # as `fpgmlab.studies.record` has it
            "name": "container",
            "title": "The container image built and tried",
            "command": "tests/container/build.sh",
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} processors",
            "date": datetime.date.today().isoformat(),
            "version": contents["versions"]["fpgmlab"],
        },
        "load in the last minutes": round(os.getloadavg()[2], 1),  # of others as well: what the seconds are worth
        "tools": dict(tools),
        "versions": contents["versions"],
        "size": {name.rpartition("/")[2]: size for name, size in images},
        "megabytes": contents["megabytes"],
        "seconds": {name: int(seconds) for name, seconds in rows},
        "user": contents["user"],
        "gpu": contents["gpu"],
        "status": status,
        "quickstart": {
            **{name: quickstart[name] for name in FIGURES},
            "peak megabytes of a process": int((folder / "peak").read_text()),
        },
    }


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(report(Path(sys.argv[1])), indent=2) + "\n")
    print(OUTPUT.read_text())

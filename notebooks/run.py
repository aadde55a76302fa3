#!/usr/bin/env python
"""Run a notebook headless: ``python notebooks/run.py 00_quickstart [-p name value] ...``.

The executed notebook goes to ``outputs/<name>/`` (without the number), beside what the notebook itself writes there. A
``report.json`` that it leaves is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", help="its name without ending, such as 00_quickstart")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    options = parser.parse_args()
    source = ROOT / "notebooks" / f"{options.notebook}.ipynb"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb")))
        raise SystemExit(f"no notebook {options.notebook!r}; there are: {known}")
    import papermill  # takes a second, which who mistypes a name need not wait

    parameters = {name: _value(text) for name, text in options.parameter}
    output = Path(parameters.setdefault("output", str(ROOT / "outputs" / source.stem.partition("_")[2])))
    output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    papermill.execute_notebook(
        source, output / source.name, parameters=parameters, cwd=str(source.parent), kernel_name="python3"
    )
    seconds = time.perf_counter() - started
    report = output / "report.json"
    if report.is_file():
        print(f"\n{report.read_text()}")
    print(
        f"the notebook took {seconds:.0f} s on {os.cpu_count()} CPU cores; 'import fpgmlab' {_import_seconds():.3f} s"
    )
    print(f"executed notebook, figures and files: {output}")


def _import_seconds() -> float:
    """Return what ``import fpgmlab`` costs beyond ``import torch``, in a fresh interpreter."""
    script = "import time, torch; start = time.perf_counter(); import fpgmlab; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()

"""Run a notebook as a reader would, with small settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent.parent


def run(name: str, output: Path, **parameters: object) -> None:
    """Execute a notebook into ``output``; it must not raise."""
    options = [part for key, value in parameters.items() for part in ("-p", key, json.dumps(value))]
    command = [sys.executable, str(ROOT / "notebooks" / "run.py"), name, *options, "-p", "output", str(output)]
    subprocess.run(command, check=True)


def check_every_cell_ran(path: Path, pictures: int, widgets: int = 0) -> None:
    """Assert that each code cell was executed, and that so many pictures and widgets were shown."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 10
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert len([o for o in outputs if "image/png" in o.get("data", {})]) == pictures
    shown = "application/vnd.jupyter.widget-view+json"
    assert len([o for o in outputs if shown in o.get("data", {})]) >= widgets


def check_figures(folder: Path, names: tuple[str, ...]) -> None:
    """Assert that each figure was left as PDF and PNG, with its record."""
    for name in names:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        record = json.loads((folder / f"{name}.json").read_text())
        for table in record["data"]:
            assert (folder / table).stat().st_size > 0

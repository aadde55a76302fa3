"""Run a notebook with small settings, and look at what it left."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from jupyter_client import KernelClient, KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[2]
# What a notebook finds in a kernel in which others ran: no names, its own folder, a generator that nobody used.
FORGET = "%reset -f\n%cd -q {folder}\nimport torch\ntorch.manual_seed(0)\ndel torch"


# What each notebook runs with here.
SMALL: dict[str, dict[str, object]] = tomllib.loads((ROOT / "notebooks" / "small.toml").read_text())


def run_afresh(name: str, output: Path) -> None:
    """Execute a notebook into ``output`` as a reader does, by ``notebooks/run.py``; it must not raise."""
    options = [part for key, value in SMALL[name].items() for part in ("-p", key, json.dumps(value))]
    command = [sys.executable, str(ROOT / "notebooks" / "run.py"), name, *options, "-p", "output", str(output)]
    subprocess.run(command, check=True)


def execute(kernel: tuple[KernelManager, KernelClient], name: str, output: Path, **parameters: object) -> None:
    """Execute a notebook into ``output`` in a kernel that may have run others; it must not raise."""
    source = ROOT / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(source, as_version=4)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    given = SMALL[name] | parameters | {"output": str(output)}
    notebook.cells.insert(place + 1, new_code_cell("\n".join(f"{key} = {value!r}" for key, value in given.items())))
    notebook.cells.insert(0, new_code_cell(FORGET.format(folder=source.parent)))
    output.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(notebook, km=kernel[0], timeout=600)
    client.kc = kernel[1]  # or it opens channels of its own, which nobody closes
    client.execute()
    nbformat.write(notebook, output / source.name)


def check_every_cell_ran(path: Path, pictures: int | None = None, widgets: int = 0) -> None:
    """Assert that each code cell was executed, and that so many pictures and widgets (with theirs) were shown."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 4
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    view = "application/vnd.jupyter.widget-view+json"
    panels = [o for o in outputs if view in o.get("data", {})]
    assert len(panels) >= widgets
    shown = [o for o in outputs if "image/png" in o.get("data", {}) and o not in panels]
    assert pictures is None or len(shown) == pictures


def check_figures(folder: Path, names: tuple[str, ...]) -> None:
    """Assert that each figure was left as PDF and PNG, with its record."""
    for name in names:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        record = json.loads((folder / f"{name}.json").read_text())
        for table in record["data"]:
            assert (folder / table).stat().st_size > 0

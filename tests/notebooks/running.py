"""Run a notebook with small settings, and look at what it left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
from jupyter_client import KernelClient, KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[2]
# What a notebook finds in a kernel in which others ran: no names, its own folder, a generator that nobody used.
FORGET = "%reset -f\n%cd -q {folder}\nimport torch\ntorch.manual_seed(0)\ndel torch"


# What each notebook runs with here: as small as lets its text be true.
SMALL: dict[str, dict[str, object]] = {
    "00_quickstart": {
        "train_samples": 2000,
        "val_samples": 300,
        "test_samples": 600,
        "sweep_samples": 200,
        "epochs": 1,
        "exporter": "torchscript",
    },
    "01_filter_geometry": {"val_samples": 100, "repair_samples": 128, "draws": 3, "judge_samples": 1000},
    "02_bn_gamma": {"train_samples": 1000, "val_samples": 500, "test_samples": 500},
    "03_sensitivity": {
        **{"samples": 200, "few": [50, 100], "judge_samples": 200, "close_samples": 200},
        "budgets": [0.8, 0.7],
    },
    "04_plan_editor": {"train_samples": 1200, "val_samples": 600, "test_samples": 600, "repair_samples": 128},
    "05_classroom_desk": {"train_samples": 200, "val_samples": 100},
    "06_repair": {
        **{"samples": 128, "counts": [16, 64], "budgets": [0.5, 0.2]},
        **{"val_samples": 500, "test_samples": 500, "train_samples": 1500},
    },
    "07_yolov5": {
        "size": 224,
        "sweep_pictures": 4,
        "ratios": [0.3, 0.7],
        "epochs": 1,
        "lr": 0.01,
        "exporter": "torchscript",
    },
    "08_efficient_convolutions": {
        "counts": [24, 31, 32, 48],
        "networks": ["resnet18", "mobilenet_v2"],
        "pixels": 128,
    },
    "10_recovery": {
        "train_samples": 1000,
        "val_samples": 500,
        "test_samples": 500,
        "steps": 2,
        "seeds": [0],
    },
    "09_deployment": {
        **{"val_samples": 500, "test_samples": 500, "samples": 128, "int8_samples": 64, "rounds": 20},
        "macs_budgets": [0.6],
        "ms_budgets": [0.6],
        "int8_budgets": [0.9, 0.1],  # the last cannot be reached, which is said
        "runtimes": ["torch", "onnxruntime", "openvino", "ncnn", "executorch"],
    },
}


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

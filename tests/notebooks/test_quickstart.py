"""The quickstart runs, and leaves what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import onnx
import pytest

import fpgmlab as fl

ROOT = Path(__file__).resolve().parent.parent.parent
FIGURES = ("pictures", "filters", "scores", "plan", "recovery")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quickstart")
    small = {"train_samples": 2000, "val_samples": 1000, "epochs": 1, "output": str(output)}
    options = [part for name, value in small.items() for part in ("-p", name, str(value))]
    subprocess.run([sys.executable, str(ROOT / "notebooks" / "run.py"), "00_quickstart", *options], check=True)
    return output


def test_every_cell_ran(folder: Path):
    notebook = nbformat.read(folder / "00_quickstart.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 10
    assert all(cell.execution_count for cell in code)
    pictures = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == len(FIGURES)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]


def test_it_leaves_figures_models_and_a_report(folder: Path):
    for name in FIGURES:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    onnx.checker.check_model(onnx.load(folder / "small.onnx"))
    assert len(fl.provenance(fl.load(folder / "small.safetensors")).plans) == 1
    report = json.loads((folder / "report.json").read_text())
    assert set(report["accuracy"]) == {"original", "pruned", "fine_tuned"}
    assert report["accuracy"]["fine_tuned"] > report["accuracy"]["pruned"]
    assert report["cost"]["macs_remaining"] <= 0.5
    assert set(report["cost"]["pruned"]) == {"macs", "params", "bytes"}
    assert set(report["latency_ms"]) == {"original", "small"}
    assert max(entry["max_rel_error"] for entry in report["onnx"].values()) <= 1e-4


def test_an_unknown_notebook_is_named():
    command = [sys.executable, str(ROOT / "notebooks" / "run.py"), "07_nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert "there are: 00_quickstart" in result.stderr

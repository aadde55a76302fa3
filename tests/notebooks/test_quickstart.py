"""The quickstart runs, and leaves what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import fpgmlab as fl
from tests.notebooks.running import ROOT, check_every_cell_ran, check_figures

FIGURES = ("pictures", "reach", "filters", "scores", "sensitivity", "plan_bars", "removed", "recovery")


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quickstart")
    run("00_quickstart", output)
    return output


def test_every_cell_ran(folder: Path):
    check_every_cell_ran(folder / "00_quickstart.ipynb", pictures=len(FIGURES))


def test_it_leaves_figures_models_and_a_report(folder: Path):
    check_figures(folder, FIGURES)
    onnx.checker.check_model(onnx.load(folder / "small.onnx"))
    (plan,) = fl.provenance(fl.load(folder / "small.safetensors")).plans
    assert plan == fl.Plan.from_json(folder / "plan.json")
    report = json.loads((folder / "report.json").read_text())
    accuracy = report["accuracy"]
    assert set(accuracy) == {"original", "pruned", "repaired", "fine_tuned"}
    assert accuracy["pruned"] + 0.3 < accuracy["repaired"] > accuracy["original"] - 0.05
    assert accuracy["fine_tuned"] > accuracy["original"] - 0.05
    assert report["drop_points"] == pytest.approx(100 * (accuracy["original"] - accuracy["fine_tuned"]))
    assert report["drop_points_repaired"] == pytest.approx(100 * (accuracy["original"] - accuracy["repaired"]))
    assert report["cost"]["macs_remaining"] <= 0.5
    assert report["accuracy"]["pruned"] < 0.5
    assert report["kept"]["conv1"] in (12, 16)
    assert report["kept"]["layer2.0.conv2"] >= 24
    graph = fl.trace(fl.load(folder / "small.safetensors"), fl.tasks.fashion_mnist().example_input)
    inside = [name for name in plan.ratios if name.endswith(".conv1") and not graph[name].protected]
    assert sum(plan.ratios[name] for name in inside) / len(inside) >= 0.4
    assert report["summary"].startswith("accuracy on 600 pictures: original")
    assert set(report["cost"]["pruned"]) == {"macs", "params", "bytes"}
    assert set(report["latency_ms"]) == {"original", "small"}
    assert max(entry["max_rel_error"] for entry in report["onnx"].values()) <= 1e-4


def test_an_unknown_notebook_is_named():
    command = [sys.executable, str(ROOT / "notebooks" / "run.py"), "07_nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert "there are: 00_quickstart" in result.stderr

"""The chapter on geometry runs, offline and with fetched weights, and reproduces the measured table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.notebooks.running import check_every_cell_ran, check_figures

FIGURES = (
    "distances",
    "map",
    "scores",
    "tiles",
    "norm_requirements",
    "norm_distributions",
    "agreement",
    "agreement_real",
)
# Overlap with the sum of distances at 40 %: exact median, L2 norm, medoid, torch-pruning's squares.
MEASURED = {
    "mobilenet_v2-imagenet": (35, 0.997, 0.933, 0.756, 0.755),
    "yolov5s-coco": (60, 0.998, 0.921, 0.794, 0.694),
}
COLUMNS = ("layers", "FPGM(center=median)", "L2", "FPGM(center=medoid)", "FPGM(as_implemented_by=torch-pruning)")


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("filter_geometry")
    run("01_filter_geometry", output)
    return output


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "01_filter_geometry.ipynb", pictures=len(FIGURES), widgets=1)
    check_figures(folder, FIGURES)


@pytest.mark.assets
def test_the_measured_table_is_reproduced(folder: Path):
    overlap = json.loads((folder / "report.json").read_text())["overlap"]
    if not set(MEASURED) <= set(overlap):
        message = f"weights could not be fetched: only {sorted(overlap)}"
        pytest.fail(message) if os.environ.get("FPGMLAB_REQUIRE_ASSETS") == "1" else pytest.skip(message)
    for name, expected in MEASURED.items():
        assert [overlap[name][column] for column in COLUMNS] == pytest.approx(expected, abs=0.005)


def test_the_exact_median_agrees_with_the_sums_on_shipped_networks(folder: Path):
    report = json.loads((folder / "report.json").read_text())
    for name in ("resnet20-fashion", "vgg16-fashion"):
        assert report["overlap"][name]["FPGM(center=median)"] > 0.95
    assert len(report["removed"]) == round(0.4 * 32)


def test_after_repair_the_criteria_are_told_apart(folder: Path):
    worth = pd.DataFrame(json.loads((folder / "report.json").read_text())["worth"]).T
    assert (worth["as cut"] < 30).all()
    assert (worth["repaired"] > 80).all()
    assert worth["over FPGM"]["Reconstruction"] > 0 > worth["over FPGM"]["Random"]
    assert abs(worth["over FPGM"]["L2"]) < min(worth["over FPGM"]["Reconstruction"], -worth["over FPGM"]["Random"])


@pytest.mark.slow
def test_it_runs_without_a_network(run: Callable[..., None], tmp_path: Path):
    run("01_filter_geometry", tmp_path, fetch=False)
    assert set(json.loads((tmp_path / "report.json").read_text())["overlap"]) >= {"resnet20-fashion", "vgg16-fashion"}

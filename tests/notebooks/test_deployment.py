"""The chapter on deployment runs, and what its text claims is in its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import fpgmlab as fl
from tests.notebooks.running import SMALL, check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # two latency tables and many exports, whatever the settings

FIGURES = ("staircase", "staircase_int8", "theory_by_macs", "theory_by_milliseconds", "front_figure")


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("deployment")
    run("09_deployment", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "09_deployment.ipynb", pictures=len(FIGURES))
    check_figures(folder, FIGURES)


def test_the_plan_for_a_share_of_the_time_is_foretold_to_take_it(report: dict):
    # Whether it does is measured on a quiet machine: tests/benchmarks/latency.py.
    planned = pd.DataFrame(report["planned"]).set_index("name")
    assert 0.9 * report["budget"] < planned["predicted time"]["by milliseconds"] <= report["budget"]
    assert planned["predicted time"]["by MACs"] > planned["MACs"]["by MACs"]
    assert (planned["time"] > 0).all()


def test_which_macs_come_back_is_known_before(report: dict):
    back = pd.DataFrame(report["back"])
    one, half = (back[back["gone"] == gone] for gone in ("one", "half"))
    assert (one["time"] < one["MACs"]).all()
    assert (half["time"] > one["time"].to_numpy()).all()
    first = pd.DataFrame(report["first"]).set_index("name")
    assert first["relative"]["any number of channels"] > first["relative"]["whole blocks"]
    assert first["MACs"]["any number of channels"] == pytest.approx(first["MACs"]["whole blocks"], abs=0.05)


def test_every_runtime_gives_the_same_answers(report: dict):
    assert {"torch", "onnxruntime"} <= set(report["installed"]) <= set(SMALL["09_deployment"]["runtimes"])
    everywhere = pd.DataFrame(report["everywhere"])
    assert len(everywhere) == 3 * len(report["installed"])
    assert everywhere["note"].eq("").all()
    assert everywhere["parity"].max() < 1e-4


def test_int8_is_smaller_and_as_good(report: dict):
    eight = pd.DataFrame(report["int8"]).set_index("name")
    assert eight["bytes"].max() < 0.45
    assert eight["accuracy lost"].max() < 0.02


def test_what_is_shipped_is_good_and_on_the_front(folder: Path, report: dict):
    front, ship = pd.DataFrame(report["front"]), report["ship"]
    assert set(front["way"]) == {"unpruned", "by MACs", "by milliseconds"}
    assert set(front["numbers"]) == {"float", "INT8"}
    assert ship["value"] >= front["value"].iloc[0] - report["tolerance"]
    good = front[front["value"] >= front["value"].iloc[0] - report["tolerance"]]
    assert ship["ms"] < 1.05 * good["ms"].min()
    assert fl.check_export(folder / "ship.onnx").dtype == {"float": "float32", "INT8": "int8"}[ship["numbers"]]

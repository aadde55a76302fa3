"""The guided session at the plan editor runs without a browser, and what its text claims is in its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

import fpgmlab as fl
from tests.notebooks.running import check_every_cell_ran, check_figures


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("plan_editor")
    run("04_plan_editor", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "04_plan_editor.ipynb", pictures=3, widgets=1)
    check_figures(folder, ("desk", "desk_repaired"))


def test_the_budgets_plan_beats_those_by_hand(report: dict):
    plans = pd.DataFrame(report["plans"]).set_index("plan")
    assert plans["macs"].between(0.6, 0.75).all()
    assert plans["macs"].loc[["budget", "budget, stage two locked"]].max() <= report["budget"]
    for values in (plans["predicted"], plans["measured"]):
        assert values["rule of thumb"] < values["by hand"] < values["budget"] + 0.02


def test_prediction_is_an_order_not_an_amount(report: dict):
    plans = pd.DataFrame(report["plans"])
    assert (plans["measured"] < plans["predicted"] + 0.02).all()


def test_repaired_the_plans_are_alike_and_as_predicted(report: dict):
    plans = pd.DataFrame(report["plans"])
    repaired = plans["measured, repaired"]
    assert repaired.max() - repaired.min() < 0.04 < 0.2 < plans["measured"].max() - plans["measured"].min()
    assert (repaired - plans["predicted, repaired"]).abs().max() < 0.04  # of few pictures
    assert (plans["predicted, repaired"] > plans["predicted"]).all()


def test_it_recovers_and_the_exported_network_is_the_one_in_the_editor(folder: Path, report: dict):
    stages = pd.DataFrame(report["stages"]).query("metric == 'accuracy'").set_index("network")
    told = ["original", "predicted", "pruned", "repaired"]
    assert list(stages.index) in (told, [*told, "fine-tuned"])  # where an epoch is as good as the repair
    assert stages["value"].iloc[-1] >= stages["value"]["repaired"] > stages["value"]["pruned"]
    assert stages["macs"]["repaired"] <= 0.7 * stages["macs"]["original"]
    assert report["onnx"]["difference"] < 1e-3
    assert report["onnx"]["same"] == 1
    (weights,) = (folder / "small").glob("*.safetensors")
    (path,) = (folder / "small").glob("*.onnx")
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        ours = fl.load(weights).eval()(images).numpy()
    np.testing.assert_allclose(answers, ours, rtol=1e-3, atol=1e-4)


def test_the_saved_plan_is_the_one_that_was_pruned(folder: Path, report: dict):
    plan = fl.Plan.from_json(folder / "plan.json")
    assert plan == fl.Plan.from_json(folder / "small" / "plan.json")
    graph = fl.trace(fl.models.load("resnet20-fashion"), torch.randn(1, 1, 28, 28))
    assert dict(plan.kept) == report["kept"]
    assert graph.cost(plan).macs <= 0.7 * graph.cost().macs


def test_the_classrooms_notebook_runs_and_hides_no_work(run: Callable[..., None], tmp_path: Path):
    run("05_classroom_desk", tmp_path)
    cells = json.loads((tmp_path / "05_classroom_desk.ipynb").read_text())["cells"]
    shown = [o for cell in cells if cell["cell_type"] == "code" for o in cell["outputs"]]
    assert ["application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in shown] == [True]

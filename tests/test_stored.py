"""What version 0.1.0 wrote before the rooms is read as it was meant: models, plans, curves, sweeps."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torchmetrics.classification import MulticlassF1Score

import fpgmlab as fl
from tests.sensitivity.small import run, small_graph, small_task

STORED = Path(__file__).parent / "stored"
EXPECTED = json.loads((STORED / "expected.json").read_text())


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return fl.load(STORED / "resnet20-small.safetensors")


def test_a_pruned_model_answers_as_before(model: torch.nn.Module):
    x = torch.linspace(-1, 1, 2 * 8 * 8).reshape(2, 1, 8, 8)
    with torch.no_grad():
        outputs = model(x)
    torch.testing.assert_close(outputs, torch.tensor(EXPECTED["outputs"]), atol=1e-5, rtol=1e-5)


def test_its_provenance_is_the_plan(model: torch.nn.Module):
    record = fl.provenance(model)
    assert record.architecture == "resnet20"
    assert record.plans == (fl.Plan.from_json(STORED / "plan.json"),)


def test_curves_with_a_metric_of_a_tasks_own():
    task = replace(small_task(), metrics={"f1": lambda: MulticlassF1Score(3, average="macro")})
    curves = fl.Curves.load(STORED / "curves.parquet", task)
    expected = pd.DataFrame(EXPECTED["curves"])
    assert set(expected["metric"]) == {"accuracy", "loss", "agreement", "f1"}
    pd.testing.assert_frame_equal(curves.frame, expected, check_dtype=False, check_like=True, atol=1e-9)


def test_a_sweep_goes_on_where_it_was_stopped(tmp_path: Path):
    # The network is made from a seed, so that the stored sweep is of this very one.
    folder = shutil.copytree(STORED / "sweep", tmp_path / "sweep")
    before = fl.Curves.load(folder)
    assert not before.complete
    curves = run(small_graph(), folder)
    assert curves.complete
    pd.testing.assert_frame_equal(
        curves.frame, pd.DataFrame(EXPECTED["sweep"]), check_dtype=False, check_like=True, atol=1e-5
    )


def test_a_latency_table_says_that_it_is_to_be_measured_anew():
    with pytest.raises(ValueError, match="straight lines between a few counts, and does not say on which machine"):
        fl.LatencyTable.from_json(STORED / "latency.json")

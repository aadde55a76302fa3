"""The chapter on recovery runs, and what its text claims is in its numbers and in the stored study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import fpgmlab as fl
from tests.notebooks.running import check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # each way of recovery, and gradual pruning twice


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("recovery")
    run("10_recovery", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "10_recovery.ipynb", pictures=2)
    check_figures(folder, ("seconds", "study"))


def test_repair_does_most_of_the_work_and_the_same_training_ends_lower_from_the_network_as_cut(report: dict):
    measured = pd.DataFrame(report["measured"]).groupby("way")["points"].mean()
    assert measured["as cut"] < measured["recalibrated"] < measured["repair"]
    assert measured["repair"] > 0.1 * measured["as cut"]  # nine tenths of what was lost
    assert measured["repair, trained"] > measured["trained"]
    assert measured["repair, distilled"] > measured["trained"]
    assert measured["from scratch"] < measured["trained"], "old weights are worth something in so short a time"
    assert report["measured"][0]["seconds"] == 0


def test_the_network_that_was_chosen_is_the_one_on_disk(folder: Path, report: dict):
    task = fl.tasks.fashion_mnist(holdout=5000).subset(test=500)
    network = fl.load(folder / "recovered.safetensors")
    assert fl.evaluate(network, task, split="test")["accuracy"] == pytest.approx(report["test"], abs=3 / 500)
    macs = [fl.trace(model, task.example_input).cost().macs for model in (network, fl.models.load("vgg16-fashion"))]
    assert macs[0] <= 0.35 * macs[1]

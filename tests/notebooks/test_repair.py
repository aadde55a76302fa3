"""The chapter on repair runs, and what its text claims is in its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.notebooks.running import check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # many repairs, whatever the settings

FIGURES = ("take_over", "ridge", "errors", "pictures", "cut_off", "budgets")


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("repair")
    run("06_repair", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "06_repair.ipynb", pictures=len(FIGURES))
    check_figures(folder, FIGURES)


def test_three_lines_of_numpy_give_what_repair_gives(report: dict):
    assert report["difference"] < 1e-6  # weights are stored in float32
    assert report["lost"]["refitted"] < 0.1 < 0.5 < report["lost"]["as cut"]
    assert report["copies"]["repaired"] < 1e-3 < 1 < report["copies"]["as cut"]


def test_the_best_ridge_is_between_and_freedom_looks_best_on_what_was_used(report: dict):
    strength, pictures, error = pd.DataFrame(report["ridges"]).columns
    errors = pd.DataFrame(report["ridges"]).pivot_table(index=strength, columns=pictures, values=error)
    assert errors["used"].is_monotonic_increasing
    best = errors["held out"].idxmin()
    assert errors.index[0] < best < errors.index[-1]
    assert errors["held out"][best] < 0.9 * errors["held out"].iloc[0]


def test_most_of_the_accuracy_comes_back_the_more_the_more_is_left(report: dict):
    accuracy = report["accuracy"]
    assert accuracy["as cut"] < 0.3 < accuracy["original"] - 0.06 < accuracy["repaired"]
    pictures = pd.DataFrame(report["pictures"])
    means = pictures.pivot_table(index="unlabelled pictures", columns="budget", values="accuracy")
    assert means.index.tolist() == [16, 64]
    assert means["35% of the MACs"].is_monotonic_increasing
    budgets = pd.DataFrame(report["budgets"]).pivot_table(index="macs", columns="method", values="value")
    assert (budgets["repaired"] > budgets["recalibrated"] + 0.05).all()
    assert budgets["repaired"].is_monotonic_increasing


def test_the_wrong_pictures_are_not_alarming_and_do_not_help(report: dict):
    foreign = pd.DataFrame(report["foreign"]).set_index("pictures")
    assert foreign["accuracy"].idxmax() == "training pictures"
    assert (foreign["accuracy"].drop("training pictures") < foreign["accuracy"]["training pictures"] - 0.3).all()
    assert foreign["mean error in the report"].max() < 0.3
    few = pd.DataFrame(report["few"]).groupby("ridge")["accuracy"].mean()
    assert few["strong"] < few.drop("strong").min() - 0.05


def test_the_better_start_ends_better(report: dict):
    accuracy = pd.DataFrame(report["trained"]).set_index("network")["accuracy"]
    assert accuracy["repaired, then one epoch"] > accuracy["as cut, then one epoch"]
    assert accuracy["repaired"] > accuracy["as cut, then one epoch"]

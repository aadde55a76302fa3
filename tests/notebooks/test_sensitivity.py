"""The chapter on sensitivity runs, and what its text claims is in its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.notebooks.running import check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # half a minute, whatever the settings

FIGURES = (
    "curves",
    "map",
    "ranking_few",
    "ranking",
    "recalibrated",
    "tradeoff",
    "tradeoff_recalibrated",
    "tradeoff_repaired",
    "additivity",
)
STREAMS = {"conv1", "layer2.0.conv2", "layer3.0.conv2"}


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sensitivity")
    run("03_sensitivity", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "03_sensitivity.ipynb", pictures=len(FIGURES), widgets=1)
    check_figures(folder, FIGURES)


def test_the_residual_streams_are_the_most_sensitive(folder: Path):
    curves = pd.read_csv(folder / "curves.csv")
    at = curves[(curves["metric"] == "accuracy") & (curves["ratio"] > 0.45) & (curves["ratio"] < 0.55)]
    assert set(at.nsmallest(3, "value")["group"]) == STREAMS


def test_intervals_shrink_with_the_pictures_and_pairing_narrows_small_drops_most(report: dict):
    intervals = pd.DataFrame(report["intervals"])
    assert intervals["pictures"].tolist() == [50, 100, 200]
    assert intervals["mean width (points)"].is_monotonic_decreasing
    gain = [row["times the pictures"] for row in report["pairing"].values()]
    assert gain[0] > 2
    assert gain == sorted(gain, reverse=True)
    assert report["tolerance"]["spent"] < 1
    assert report["tolerance"]["close"] > 0.9


def test_the_simulation_is_the_cut_and_the_mask_is_not(report: dict):
    ways = pd.DataFrame(report["three_ways"]).set_index("way")
    difference = ways[next(name for name in ways if name.startswith("largest"))]
    assert difference["fl.simulate"].max() < 1e-4
    assert difference["filters zeroed"].min() > 1
    assert (ways["accuracy"]["fl.simulate"].to_numpy() == ways["accuracy"]["fl.prune"].to_numpy()).all()
    apart = ways["accuracy"]["filters zeroed"].to_numpy() - ways["accuracy"]["fl.prune"].to_numpy()
    assert apart.max() > 0.2 > 0 > apart.min(), "it is no bound of the cut, neither way"
    assert max(report["surgery"].values()) < 1e-4


def test_most_of_the_streams_drop_is_stale_statistics(report: dict):
    curves = pd.DataFrame(report["recalibrated"])
    mine = curves[curves["group"].isin(STREAMS) & curves["ratio"].between(0.35, 0.65)]
    drops = report["base"]["accuracy"] - mine.pivot_table(index="group", columns="statistics", values="value")
    assert (drops["recalibrated"] < 0.5 * drops["stale"]).all()
    assert drops["repaired"].mean() < drops["recalibrated"].mean() + 0.01  # of few pictures


def test_label_free_metrics_rank_large_drops_as_accuracy_does(report: dict):
    assert min(report["label_free"]["0.8"].values()) > 0.8


def test_the_measured_plan_is_better_than_a_uniform_one(report: dict):
    plans = pd.DataFrame(report["plans"])
    assert (plans["macs"] <= plans["budget"]).all()
    after_cut = plans[plans["when"] == "right after the cut"].set_index(["budget", "method"])["value"]
    for budget in (0.8, 0.7):
        assert after_cut[budget, "allocate"] > after_cut[budget, "uniform"]
    better = plans.pivot_table(index=["method", "budget"], columns="when", values="value")
    assert (better["recalibrated"] >= better["right after the cut"]).loc[["uniform", "equal loss"]].all()
    assert (better["repaired"] >= better["right after the cut"]).all()
    apart = better.groupby("budget").agg(np.ptp)
    assert (apart["repaired"] < 0.04).all(), "plans are alike after repair"
    assert (apart["right after the cut"] > 0.1).all()


def test_joint_drops_are_more_than_the_sum(report: dict):
    last = pd.DataFrame(report["additivity"]).iloc[-1]
    assert last["low"] > last["predicted_so_far"]


def test_the_live_sweep_ends_and_a_stopped_one_resumes_identically(report: dict):
    assert report["panel"] == "finished"
    assert report["resumed_identical"]

"""The chapter on efficient convolutions runs, and what its text claims is in its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.notebooks.running import check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # many exports and some training, whatever the settings

FIGURES = ("fields", "fields_trained", "reach", "macs_and_time", "roofline", "stairs_figure", "widths")


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("efficient_convolutions")
    run("08_efficient_convolutions", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "08_efficient_convolutions.ipynb", pictures=len(FIGURES))
    check_figures(folder, FIGURES)


def test_formulas_are_counts_and_measured_fields(report: dict):
    counted = pd.DataFrame(report["counted"])
    assert len(counted) == 6
    for what in ("weights", "MACs"):
        assert counted[f"{what}, formula"].tolist() == counted[f"{what}, counted"].tolist()
    assert {name: [size, size] for name, size in report["sizes"].items()} == report["measured"]


def test_a_shuffle_lets_all_channels_be_read(report: dict):
    wanted = {"depthwise": 16, "grouped, twice": 64, "with a shuffle between": 256, "depthwise, pointwise": 256}
    assert report["reads"] == wanted


def test_time_does_not_follow_macs(report: dict):
    layers = pd.DataFrame(report["layers"]).set_index("name")
    share = layers[["macs", "ms"]] / layers[["macs", "ms"]].loc["plain"]
    assert share["ms"]["depthwise-separable"] < 0.6
    assert share["ms"]["grouped, 16 groups"] > 1.5 * share["macs"]["grouped, 16 groups"]
    halves = layers.loc[["depthwise", "pointwise"], ["macs", "ms"]]
    assert halves["ms"]["depthwise"] / halves["ms"].sum() > 1.3 * halves["macs"]["depthwise"] / halves["macs"].sum()
    intensity = layers["macs"] / layers["bytes"]
    assert intensity["depthwise"] < report["peak"] / report["bandwidth"] < intensity["plain"]


def test_a_channel_less_is_slower(report: dict):
    steps = pd.DataFrame(report["steps"]).pivot_table(index="channels", columns="name", values="ms")
    assert (steps.loc[31] > 1.1 * steps.loc[32]).all()
    widths = pd.DataFrame(report["widths"])
    assert widths["macs"].idxmax() == 0
    assert widths["time"].idxmax() == 1, "cut to any width"


def test_the_nearest_weights_are_numpys_and_the_better_start(report: dict):
    assert report["kept"] == pytest.approx(report["replacements"][-1]["kept"], abs=1e-4)
    replaced = pd.DataFrame(report["replaced"]).set_index(["kind", "weights"])
    after = replaced["after one epoch"]["depthwise_separable"]
    assert after["nearest"] > after["new"] + 0.03
    assert replaced["million MACs"].max() < 10

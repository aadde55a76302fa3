"""The chapter on paper figures runs: the full set is there, and a rule of one's own stands beside FPGM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fpgmlab.figures.paper.paper import MAKERS
from tests.notebooks.running import check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # a detector is repaired, and a classifier several times


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("paper")
    run("11_paper_figures", output)
    return output


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_every_cell_ran_and_left_the_full_set(folder: Path, report: dict):
    check_every_cell_ran(folder / "11_paper_figures.ipynb", pictures=3)
    assert report["figures"] == list(MAKERS)
    check_figures(folder, tuple(name for name in MAKERS if not name.startswith("table_")))
    for name in MAKERS:
        assert (folder / f"{name}.csv").is_file()


def test_fpgm_measured_anew_is_where_it_is_stored_and_ones_own_rule_beside_it(folder: Path, report: dict):
    shown = pd.read_csv(folder / "own" / "accuracy_macs.csv")
    here = shown[(shown["network"] == "resnet20-fashion") & (shown["macs"] == 0.5)].set_index("method")
    own = {row["method"]: row["value"] for row in report["own"]}
    # Fewer pictures to repair with and to judge by than the study's: within what 500 pictures leave open.
    assert own["FPGM, anew"] == pytest.approx(here.loc["FPGM", "value"], abs=0.03)
    assert own["our directions"] == pytest.approx(here.loc["our directions", "value"])
    assert here.loc["our directions", "low"] < own["our directions"] < here.loc["our directions", "high"]
    assert r"our directions & $" in (folder / "own" / "table_criteria.tex").read_text()

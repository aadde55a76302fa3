"""The chapter on gammas runs, and the sparse network bears what the plain one does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.notebooks.running import check_every_cell_ran, check_figures

pytestmark = pytest.mark.slow  # its text asks for many pictures

FIGURES = ("ridgeline_plain", "before_after", "ridgeline_sparse", "histogram", "slimming")


@pytest.fixture(scope="module")
def folder(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bn_gamma")
    run("02_bn_gamma", output)
    return output


def test_every_cell_ran_and_left_its_figures(folder: Path):
    check_every_cell_ran(folder / "02_bn_gamma.ipynb", pictures=len(FIGURES), widgets=1)
    check_figures(folder, FIGURES)


def test_the_sparse_network_does_not_notice_what_the_plain_one_dies_of(folder: Path):
    slimmed = pd.DataFrame(json.loads((folder / "report.json").read_text())["slimmed"])
    half = slimmed[slimmed["ratio"] == 0.5].set_index("network")
    assert half.loc["sparse", "pruned"] > half.loc["sparse", "before"] - 0.01
    assert half.loc["plain", "pruned"] < 0.5
    assert half.loc["plain", "fine-tuned"] > half.loc["plain", "pruned"]

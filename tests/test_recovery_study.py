"""The study of recovery: its intervals, and that no two of its cells share a file."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.benchmarks.recovery import GRID, NETWORKS, Cell, difference, float32, grid, in_grid, precision, unpacked


def test_with_one_seed_the_interval_is_that_of_paired_pictures():
    ours, theirs = np.random.default_rng(0).integers(0, 2, (2, 1, 500))
    mean, low, high = difference(ours, theirs)
    each = 100.0 * (ours - theirs)[0]
    expected = stats.t.interval(0.95, len(each) - 1, each.mean(), stats.sem(each))
    assert (low, high) == pytest.approx(expected)
    assert mean == pytest.approx(each.mean())


def test_seeds_that_differ_widen_it_and_networks_that_are_one_have_none():
    rng = np.random.default_rng(1)
    theirs = rng.integers(0, 2, (1, 4000))
    ours = np.stack([np.where(rng.random(4000) < share, 1, theirs[0]) for share in (0.0, 0.1, 0.2)])
    _, low, high = difference(ours, theirs)
    _, one_low, one_high = difference(ours[1:2], theirs)
    assert high - low > 2 * (one_high - one_low)
    assert difference(theirs, theirs) == (0.0, 0.0, 0.0)


def test_each_cell_of_the_grid_has_a_file_of_its_own():
    cells = list(grid(NETWORKS, range(3)))
    assert len(cells) == 1080 == len({cell.path for cell in cells})
    assert all(isinstance(cell, Cell) for cell in cells)


def test_float32_is_held_against_the_same_cell_in_bfloat16_alone():
    ours = list(precision(NETWORKS, range(3)))
    theirs = [cell for cell in grid(NETWORKS, range(1)) if cell.training]
    assert len({cell.path for cell in ours + theirs}) == len(ours) + len(theirs)
    right = np.random.default_rng(3).integers(0, 2, (2, 80), dtype=np.uint8)
    bits = [np.packbits(each).tobytes().hex() for each in right]
    rows = [asdict(cell) | {"precision": "off", "right": bits[0]} for cell in ours[:3]]
    rows += [asdict(cell) | {"precision": "bfloat16", "right": bits[1]} for cell in theirs]
    found = float32(pd.DataFrame(rows))
    assert found["cells"] == 3
    assert found["points"] == pytest.approx(100 * (right[0].mean() - right[1].mean()), abs=1e-3)
    assert float32(pd.DataFrame(rows[3:])) == {"cells": 0}


def test_a_repair_counts_for_the_grid_whichever_part_measured_it():
    cells = [Cell("vgg16-fashion", "repair", pictures=55_000), Cell("vgg16-fashion", "repair", "l2")]
    cells += [Cell("vgg16-fashion", "trained"), Cell("vgg16-fashion", "trained", pictures=55_000)]
    cells += [Cell("vgg16-fashion", "as cut")]
    kept = in_grid(pd.DataFrame(map(asdict, cells)))
    assert kept[["way", "criterion"]].to_numpy().tolist() == [["repair", "fpgm"], ["repair", "l2"], ["trained", "fpgm"]]
    assert set(kept["pictures"]) == {GRID}


def test_answers_are_kept_bit_by_bit():
    right = np.random.default_rng(2).integers(0, 2, 10_000, dtype=np.uint8)
    assert (unpacked(np.packbits(right).tobytes().hex()) == right).all()

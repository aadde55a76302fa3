"""Curves in a file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fpgmlab as fl
from fpgmlab.sensitivity.curves.curves import read_curves, write_curves
from fpgmlab.sensitivity.curves.intervals import Paired
from tests.sensitivity.small import run, same, small_graph


def test_curves_are_saved_and_loaded_without_the_model(tmp_path: Path):
    curves = run(small_graph(), tmp_path / "sweep")
    curves.save(tmp_path / "curves.parquet")
    for path in (tmp_path / "curves.parquet", tmp_path / "sweep"):
        loaded = fl.Curves.load(path)
        assert same(loaded, curves)
        assert loaded.widths == curves.widths
        assert all(torch.equal(score, curves.scores[name]) for name, score in loaded.scores.items())
        assert same(loaded.merge(curves), curves.merge(loaded))
    with pytest.raises(FileNotFoundError, match="no file"):
        fl.Curves.load(tmp_path / "nothing")


@given(st.lists(st.tuples(*[st.floats(allow_nan=False)] * 3), min_size=1, max_size=5))
def test_numbers_come_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, numbers: list[tuple]):
    path = tmp_path_factory.mktemp("curves") / "curves.parquet"
    sums = {("é/" * i, i, "loss"): Paired(2**40 + i, *row) for i, row in enumerate(numbers)}
    changes = {"a": numbers[0][0], "b": math.inf}
    write_curves(path, fl.Curves(sums, {"loss": Paired()}, {"a": 3}, changes), {"note": [1]})
    curves, record = read_curves(path)
    assert (curves.sums, curves.whole, curves.changes, record) == (sums, {"loss": Paired()}, changes, {"note": [1]})
    assert [math.copysign(1, part.value) for part in curves.sums.values()] == [math.copysign(1, r[0]) for r in numbers]

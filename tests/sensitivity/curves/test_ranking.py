"""The order of the groups by their sensitivity: against calculations by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpgmlab.sensitivity import ranking_table
from fpgmlab.sensitivity.curves.ranking import first_above
from tests.sensitivity.curves.made import hand_made


def test_ranking_against_a_hand_calculation():
    table = ranking_table(hand_made(), drop=0.01)
    assert table.columns.tolist() == ["rank", "group", "value", "low", "high", "beyond"]
    assert table["group"].tolist() == ["steep", "middle", "flat"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["beyond"].tolist() == [False, False, True]
    # steep: 0.1 at 0.2, so 0.01 at 0.02; its band: 0.13 and 0.096 at 0.2.
    # middle: 0 at 0.2 and 0.02 at 0.5; its band: 0.03 at 0.2, and -0.004 at 0.2 to 0.016 at 0.5.
    # flat: never; the worse edge 0.03 at 0.2, the better one never.
    np.testing.assert_allclose(table["value"], [0.02, 0.35, 0.8])
    np.testing.assert_allclose(table["low"], [0.2 / 13, 0.2 / 3, 0.2 / 3])
    np.testing.assert_allclose(table["high"], [0.2 / 9.6, 0.2 + 0.3 * 14 / 20, 0.8])


def test_ranking_at_a_ratio_against_a_hand_calculation():
    table = ranking_table(hand_made(), ratio=0.35, unmeasurable=["steep"])
    assert table["group"].tolist() == ["middle", "flat", "steep"]
    np.testing.assert_allclose(table["value"], [0.01, 0.0, np.nan], atol=1e-12)
    np.testing.assert_allclose(table["low"], [0.006, -0.004, np.nan], atol=1e-12)
    np.testing.assert_allclose(table["high"], [0.04, 0.03, np.nan], atol=1e-12)
    assert table["rank"].isna().tolist() == [False, False, True]


def test_ranking_of_a_metric_that_is_better_when_lower():
    frame = hand_made()
    flipped = frame.assign(value=-frame["value"], low=-frame["high"], high=-frame["low"], metric="loss")
    pd.testing.assert_frame_equal(ranking_table(flipped), ranking_table(frame))
    own = ranking_table(flipped.assign(metric="my error"), higher_is_better=False)
    pd.testing.assert_frame_equal(own, ranking_table(frame))
    known = flipped.assign(metric="my error")
    known.attrs["higher_is_better"] = {"my error": False}  # as `Curves.frame` tells of a task's own metrics
    pd.testing.assert_frame_equal(ranking_table(known), ranking_table(frame))


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=8), st.integers(0, 8))
def test_first_above_against_a_fine_grid(heights: list[int], below: int):
    x, y, level = np.arange(len(heights) + 1) / 10, np.array([0.0, *heights]), below + 0.5
    fine = np.unique(np.concatenate([np.linspace(0, x[-1], 4001), x]))
    above = fine[np.interp(fine, x, y) > level]
    found = first_above(x, y, level)
    assert np.isnan(found) == (len(above) == 0)
    if len(above):
        assert found - 1e-9 <= above[0] <= found + 2.1e-4  # the step of the grid


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranking_table(hand_made(), drop=0), "drop must be a number > 0, in the unit of accuracy; got"),
        (lambda: ranking_table(hand_made(), ratio=1.0), "0 < ratio < 1; got 1.0"),
        (lambda: ranking_table(hand_made(), ratio=0.9), "'flat' is measured up to ratio 0.8 only"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=message):
        call()

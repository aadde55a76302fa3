"""The front: against comparing each plan with each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpgmlab.allocation import pareto_front


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12), st.booleans())
def test_the_front_against_brute_force(points: list[tuple[int, int]], higher: bool):
    cost, value = np.array(points, float).T
    gain = value if higher else -value

    def beaten(i: int) -> bool:
        return any(
            cost[j] <= cost[i] and gain[j] >= gain[i] and (cost[j] < cost[i] or gain[j] > gain[i])
            for j in range(len(points))
        )

    assert pareto_front(cost, value, higher).tolist() == [not beaten(i) for i in range(len(points))]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"got \(2,\), \(3,\)"):
        pareto_front(np.zeros(2), np.zeros(3))

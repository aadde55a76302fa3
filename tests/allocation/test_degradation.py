"""What curves predict: monotone, between the measured points only, and what a plan adds up to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

import fpgmlab as fl
from fpgmlab.allocation.degradation import PREFERRED, degradations, isotonic
from fpgmlab.sensitivity.curves.metrics import METRICS
from tests.allocation.made import chain, curves_of

pairs = st.lists(st.tuples(st.floats(-1, 1), st.floats(1, 100)), min_size=1, max_size=12)


@given(pairs)
def test_isotonic_is_scipys(points: list[tuple[float, float]]):
    values, weights = np.array(points).T
    assert isotonic(values, weights) == pytest.approx(isotonic_regression(values, weights=weights).x, abs=1e-9)


def test_every_metric_has_its_place():
    assert set(PREFERRED) == set(METRICS)


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_worse_is_positive_and_never_falls(metric: str):
    graph = chain(10, 10)
    curves = curves_of(graph, {"0": {8: -0.1, 6: 0.3, 4: 0.1, 2: 0.5}}, metric)
    curve = degradations(graph, curves, metric)["0"]
    assert curve.kept.tolist() == [10, 8, 6, 4, 2]
    assert curve.measured == pytest.approx([0, -0.1, 0.3, 0.1, 0.5])
    assert curve.drop == pytest.approx([0, 0, 0.2, 0.2, 0.5])
    assert curve.at(np.array([10, 9, 7, 3])) == pytest.approx([0, 0, 0.1, 0.35])


def test_a_point_that_is_no_number_ends_the_curve():
    graph = chain(10, 10)
    curves = curves_of(graph, {"0": {8: 0.1, 6: math.inf, 4: 0.5}, "2": {8: math.nan, 4: 0.1}})
    known = degradations(graph, curves, "kl")
    assert known["0"].kept.tolist() == [10, 8]
    assert known["2"].kept.tolist() == [10]
    plan = fl.allocate(graph, curves, macs=0.92, multiple=1)
    assert (plan.kept["0"], plan.kept["2"]) == (9, 10)


def test_predicted_is_the_sum_of_single_drops():
    graph = chain(10, 10)
    curves = curves_of(graph, {"0": {8: 0.1, 4: 0.5}, "2": {5: 0.2}})
    plan = fl.Plan({"0": 10, "2": 10, "6": 3}, {"0": (1, 2, 3, 4), "2": (5,)})
    table = fl.allocation.predicted(graph, curves, plan)
    assert table.columns.tolist() == ["group", "ratio", "kept", "predicted"]
    assert table["group"].tolist() == ["0", "2"]
    assert table["ratio"].tolist() == [0.4, 0.1]
    assert table["kept"].tolist() == [6, 9]
    assert table["predicted"].tolist() == pytest.approx([0.3, 0.04])


def test_nothing_is_predicted_beyond_what_was_measured():
    graph = chain(10, 10)
    curves = curves_of(graph, {"0": {5: 0.2}})
    with pytest.raises(ValueError, match="group '0': the plan keeps 4 of 10 channels, but the fewest .* are 5"):
        fl.allocation.predicted(graph, curves, fl.Plan({"0": 10}, {"0": range(6)}))
    with pytest.raises(ValueError, match="group '2': the plan keeps 9 of 10 channels, but the fewest .* are 10"):
        fl.allocation.predicted(graph, curves, fl.Plan({"2": 10}, {"2": [0]}))
    with pytest.raises(ValueError, match="the plan was made for another network"):
        fl.allocation.predicted(graph, curves, fl.Plan({"x": 10}, {}))

"""What the curves expect of a plan: against numpy, and against the plan editor's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fpgmlab as fl
from fpgmlab.allocation.degradation import predicted
from fpgmlab.allocation.forecast import forecast
from fpgmlab.figures.desk.words import words_of_totals
from fpgmlab.sensitivity.curves.states import States
from fpgmlab.widgets.desk.report import report_frame
from tests.allocation.made import SAMPLES, branches, curves_of, rising

GRAPH = branches()
FREE = [name for name, group in GRAPH.items() if group.protected is None]


def plan_of(curves: fl.Curves, kept: dict[str, int]) -> fl.Plan:
    ratios = {name: 1 - count / GRAPH[name].channels for name, count in kept.items()}
    return fl.Plan.from_ratios(GRAPH, curves.scores, ratios)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["accuracy", "kl"]), st.data())
def test_the_value_is_the_sum_of_what_is_predicted(seed: int, metric: str, data: st.DataObject):
    drops = {n: {k: 0.05 * d for k, d in points.items()} for n, points in rising(GRAPH, seed).items()}
    curves = curves_of(GRAPH, drops, metric)
    kept = {name: data.draw(st.integers(min(drops[name]), GRAPH[name].channels)) for name in FREE}
    found = forecast(GRAPH, curves, plan_of(curves, kept), metric)
    drop = predicted(GRAPH, curves, plan_of(curves, kept), metric)["predicted"].sum()
    value = np.clip(0.9 - drop, 0, 1) if metric == "accuracy" else drop
    assert found.value == pytest.approx(value)
    assert found.unknown == ()


def test_the_interval_against_a_hand_calculation():
    whole = GRAPH["inner"].channels  # 5
    curves = curves_of(GRAPH, {"inner": {4: 0.1, 2: 0.3}, "side": {3: 0.2}}, "kl")
    # Each sample changes by the drop exactly; only that the first column of squares is drop² keeps the deviation at 0.
    assert forecast(GRAPH, curves, plan_of(curves, {"inner": 3}), "kl").half == pytest.approx(0, abs=1e-6)
    wide = {key: type(part)(part.samples, part.value, part.base, part.square + SAMPLES * 0.04)
            for key, part in curves.sums.items()}  # fmt: skip
    spread = fl.Curves(wide, curves.whole, curves.widths, curves.changes, True, curves.scores)
    half = 1.959963984540054 * 0.2 / np.sqrt(SAMPLES - 1)  # a deviation of 0.2 in every point
    one = forecast(GRAPH, spread, plan_of(curves, {"inner": 3}), "kl")
    both = forecast(GRAPH, spread, plan_of(curves, {"inner": 3, "side": 3}), "kl")
    assert (one.value, one.half) == (pytest.approx(0.2), pytest.approx(half))
    assert (both.value, both.half) == (pytest.approx(0.4), pytest.approx(half * 2**0.5))
    assert forecast(GRAPH, spread, plan_of(curves, {}), "kl").half == 0
    assert whole == 5


@pytest.mark.parametrize(("share", "value"), [(True, 0.0), (False, -0.3)])
def test_a_fraction_stays_one(share: bool, value: float):
    def own(found: float) -> States:
        return States(((1, b"", b""),), share=share, found=(found, found, found, 0.9))

    sums = {("inner", 2, "mine"): own(0.3), ("side", 3, "mine"): own(0.3)}
    widths = {name: GRAPH[name].channels for name in ("inner", "side")}
    scores = {name: torch.arange(GRAPH[name].channels) for name in GRAPH}
    curves = fl.Curves(sums, {"mine": own(0.9)}, widths, dict.fromkeys(widths, 1.0), True, scores)
    assert forecast(GRAPH, curves, plan_of(curves, {"inner": 2, "side": 3}), "mine").value == pytest.approx(value)


def test_an_interval_that_is_not_known_is_infinite():
    def few(value: float) -> States:  # one batch
        return States(((1, b"", b""),), share=True, found=(value, -np.inf, np.inf, 0.9))

    sums = {("inner", kept, "mine"): few(0.9 - 0.1 * (5 - kept)) for kept in (4, 2)}
    widths = {"inner": 5}
    scores = {name: torch.arange(GRAPH[name].channels) for name in GRAPH}
    curves = fl.Curves(sums, {"mine": few(0.9)}, widths, dict.fromkeys(widths, 1.0), True, scores)
    halves = {kept: forecast(GRAPH, curves, plan_of(curves, {"inner": kept}), "mine").half for kept in (5, 4, 3, 2, 1)}
    assert halves == {5: 0, 4: np.inf, 3: np.inf, 2: np.inf, 1: np.inf}
    words = words_of_totals(GRAPH, curves, plan_of(curves, {"inner": 3}), "mine", None, None)[-1]
    assert words == "mine predicted 70.0% ± unknown (was 90.0%)"
    report = report_frame(GRAPH, curves, None, plan_of(curves, {"inner": 3}), {}).set_index("network")
    assert report.loc["predicted", ["low", "high"]].isna().all()


def test_what_was_not_measured_is_named():
    curves = curves_of(GRAPH, {"inner": {4: 0.1, 2: 0.3}}, "kl")
    beyond = forecast(GRAPH, curves, plan_of(curves, {"inner": 1, "side": 3}), "kl")
    assert beyond.unknown == ("inner", "side")
    assert beyond.value == pytest.approx(0.3)
    assert forecast(GRAPH, curves, plan_of(curves, {"inner": 2}), "kl").unknown == ()


def test_foreign_things_are_refused_in_words():
    curves = curves_of(GRAPH, {"inner": {4: 0.1}}, "kl")
    with pytest.raises(ValueError, match="the curves do not have it: unknown metric 'accuracy'"):
        forecast(GRAPH, curves, plan_of(curves, {}), "accuracy")
    with pytest.raises(ValueError, match="the plan was made for another network"):
        forecast(GRAPH, curves, fl.Plan({"conv": 3}, {}), "kl")

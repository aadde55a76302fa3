"""Curves that cannot be told from noise are told of before a plan is made by them."""

from __future__ import annotations

import math
import re
import warnings

import pytest

import fpgmlab as fl
from fpgmlab.allocation.noise import noise
from fpgmlab.sensitivity.curves.intervals import Paired
from tests.allocation.made import chain, curves_of

SAMPLES = 30


def on_few_pictures(graph: fl.ChannelGraph, *, sure: bool = False) -> fl.Curves:
    """Return curves on which one of thirty pictures more is wrong, or for one group half of them."""
    names = [name for name in graph if graph[name].protected is None]
    base = 20.0
    sums = {
        (name, kept, "accuracy"): Paired(SAMPLES, base - lost, base, float(lost))
        for name in names
        for kept in (1, 2)
        for lost in (15 if sure and (name, kept) == (names[0], 1) else 1,)
    }
    made = curves_of(graph, {name: {1: 0.0, 2: 0.0} for name in names})
    whole = {"accuracy": Paired(SAMPLES, base, base, 0.0)}
    return fl.Curves(sums, whole, widths=made.widths, changes=made.changes, complete=True, scores=made.scores)


def test_a_plan_by_chance_is_told_of():
    graph = chain(4, 4, 4)
    curves = on_few_pictures(graph)
    points = len(curves.frame[curves.frame.ratio > 0])
    words = rf"none of the {points} measured points is accuracy further .* on 30 samples.*has to be trained first"
    with pytest.warns(UserWarning, match=words):
        plan = fl.allocate(graph, curves, macs=0.9, multiple=1)
    assert graph.cost(plan).macs <= 0.9 * graph.cost().macs


def test_one_point_that_is_sure_is_enough():
    graph = chain(4, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.allocate(graph, on_few_pictures(graph, sure=True), macs=0.9, multiple=1)


def test_what_is_told_is_what_the_map_dots():
    """An oracle of its own: by the frame's own numbers, row by row."""
    graph = chain(4, 4, 4)
    for sure in (False, True):
        curves = on_few_pictures(graph, sure=sure)
        rows = curves.frame[curves.frame.ratio > 0]
        base = 20 / SAMPLES
        apart = [not row.low <= base <= row.high for row in rows.itertuples()]
        assert any(apart) == sure
        told = noise(curves, "accuracy")
        assert (told is None) == sure
    assert "the plan goes by agreement" in str(noise(on_few_pictures(graph), "agreement"))
    found = re.search(r"none of the (\d+)", str(noise(on_few_pictures(graph), "accuracy")))
    assert found is not None
    assert math.isclose(int(found[1]), len(apart))

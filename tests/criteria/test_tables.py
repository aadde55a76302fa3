"""Tables of scores and norms: against scipy, and against the plan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import fpgmlab as fl
from fpgmlab.criteria import norms_and_distances, score_table


def test_norms_and_distances_against_scipy():
    weights = {"a": torch.randn(16, 4, 3, 3), "b.conv": torch.randn(17, 4, 3, 3) / 2}
    frame = norms_and_distances(weights)
    for name, group in frame.groupby("layer"):
        points = weights[name].flatten(1).double().numpy()
        np.testing.assert_allclose(group["norm"], np.linalg.norm(points, axis=1))
        np.testing.assert_allclose(group["distance"], cdist(points, points).sum(1))
    assert norms_and_distances({}).empty


def test_score_table(graph: fl.ChannelGraph):
    found = fl.score(graph, "l2")
    plan = fl.Plan.uniform(graph, found, 0.4, multiple=1)
    frame = score_table(graph, found, plan)
    assert len(frame) == sum(group.channels for group in graph.values())
    for name, group in frame.groupby("group"):
        assert tuple(group.loc[group["removed"], "channel"]) == plan.removed[name]
        np.testing.assert_array_equal(group["score"], found[name])
        assert set(group["protected"]) == {graph[name].protected or ""}
    with pytest.raises(ValueError, match="no scores for any of the"):
        score_table(graph, {}, plan)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: norms_and_distances({"a": torch.zeros(3)}), "layer 'a' must have filters"),
        (lambda: norms_and_distances({"a": torch.full((2, 2), torch.nan)}), "layer 'a': .*NaN"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=message):
        call()

"""Criteria compared: against scipy's correlations and sets made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import kendalltau, spearmanr

import fpgmlab as fl
from fpgmlab.criteria import FPGM, L2, Custom
from fpgmlab.criteria.comparison import COLUMNS


def test_every_pair_and_layer_has_a_row(graph: fl.ChannelGraph):
    frame = fl.compare_criteria(graph, ["fpgm", "l2", "random"], ratio=0.5)
    free = [name for name, group in graph.items() if group.protected is None]
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 3 * len(free)
    assert set(frame["layer"]) == set(free)
    assert set(zip(frame["first"], frame["second"], strict=True)) == {
        ("FPGM", "L2"), ("FPGM", "Random"), ("L2", "Random")
    }  # fmt: skip


def test_figures_are_scipys_and_sets_are_counted(graph: fl.ChannelGraph):
    frame = fl.compare_criteria(graph, [FPGM(), FPGM(as_implemented_by="torch-pruning")], ratio=0.4)
    one, two = fl.score(graph), fl.score(graph, FPGM(as_implemented_by="torch-pruning"))
    for row in frame.itertuples():
        a, b = one[row.layer].numpy(), two[row.layer].numpy()
        assert row.spearman == pytest.approx(spearmanr(a, b).statistic)
        assert row.kendall == pytest.approx(kendalltau(a, b).statistic)
        assert row.removed == int(0.4 * len(a))
        lowest = (set(np.argsort(x, kind="stable")[: row.removed]) for x in (a, b))
        assert row.overlap == len(set.intersection(*lowest)) / row.removed


def test_weights_by_name_will_do():
    weights = {"a": torch.randn(10, 3, 3, 3), "b": torch.randn(20, 10).half()}
    frame = fl.compare_criteria(weights, ["l1", "l2"])
    assert list(frame["layer"]) == ["a", "b"]
    assert list(frame["removed"]) == [4, 8]


def test_opposite_orders():
    forward = Custom(lambda filters: torch.arange(len(filters), dtype=torch.float64), "forward")
    backward = Custom(lambda filters: -torch.arange(len(filters), dtype=torch.float64), "backward")
    row = fl.compare_criteria({"a": torch.randn(10, 3)}, [forward, backward], ratio=0.5).iloc[0]
    assert_allclose([row["spearman"], row["kendall"], row["overlap"]], [-1, -1, 0])


def test_constant_scores_have_no_correlation():
    weights = {"a": torch.ones(10, 3), "one": torch.ones(1, 3)}
    frame = fl.compare_criteria(weights, [L2(), FPGM()], ratio=0.4)
    assert frame["spearman"].isna().all()
    assert frame["overlap"].tolist()[0] == 1
    assert np.isnan(frame["overlap"].tolist()[1])  # nothing can go from one channel


def test_bad_requests_are_named(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match=r"at least two, each with a label of its own; got \['FPGM'\]"):
        fl.compare_criteria(graph, ["fpgm"])
    with pytest.raises(ValueError, match="label of its own"):
        fl.compare_criteria(graph, ["l2", L2()])
    with pytest.raises(ValueError, match="0 < ratio < 1; got 1"):
        fl.compare_criteria(graph, ["fpgm", "l2"], ratio=1)
    with pytest.raises(ValueError, match=r"layer 'a' must have weights \(filters, ...\)"):
        fl.compare_criteria({"a": torch.ones(3)}, ["fpgm", "l2"])
    with pytest.raises(ValueError, match="layer 'a' cannot be scored by L2: 1 of 3 points are NaN"):
        fl.compare_criteria({"a": torch.tensor([[torch.nan], [1], [2]])}, ["l2", "fpgm"])

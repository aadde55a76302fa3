"""Criteria held against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from torch import nn

import fpgmlab as fl
from fpgmlab.geometry import distance_sums, pairwise_distances


def vectors(module: nn.Module) -> np.ndarray:
    return module.weight.detach().double().flatten(1).numpy()


def test_fpgm_is_the_sum_of_scipys_distances(graph: fl.ChannelGraph):
    scores = fl.score(graph, "fpgm")
    assert list(scores) == list(graph)
    for name, group in graph.items():
        v = vectors(graph.model.get_submodule(name))
        assert scores[name].shape == (group.channels,)
        assert_allclose(scores[name], cdist(v, v).sum(1), rtol=1e-12)


@pytest.mark.parametrize(("criterion", "order"), [("l1", 1), ("l2", 2)])
def test_norms(graph: fl.ChannelGraph, criterion: str, order: int):
    for name, score in fl.score(graph, criterion).items():
        assert_allclose(score, np.linalg.norm(vectors(graph.model.get_submodule(name)), order, axis=1))


@pytest.mark.parametrize(
    ("reduce", "by_hand"), [("root", lambda s: s[0]), ("mean", np.mean), ("sum", np.sum), ("max", np.max)]
)
def test_producers_of_one_group_are_reduced(graph: fl.ChannelGraph, reduce: str, by_hand):
    group = graph["conv1"]
    assert len(group.producers) == 4
    each = np.stack([np.linalg.norm(vectors(graph.model.get_submodule(p)), axis=1) for p in group.producers])
    expected = by_hand(each) if reduce == "root" else by_hand(each, axis=0)
    assert_allclose(fl.score(graph, "l2", reduce=reduce)["conv1"], expected)


def test_gamma_is_the_batch_norms_scale(graph: fl.ChannelGraph):
    scores = fl.score(graph, "bn_gamma")
    assert "fc" not in scores  # protected, and has none
    assert_allclose(scores["layer1.0.conv1"], graph.model.layer1[0].bn1.weight.detach().abs())


def test_random_follows_the_seed(graph: fl.ChannelGraph):
    a, b, c = (fl.score(graph, "random", seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in graph)
    assert not any(torch.equal(a[name], c[name]) for name in graph)


def test_blocks_of_a_grouped_convolution_are_compared_within():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, 2, 1))
    graph = fl.trace(model, torch.randn(1, 3, 8, 8))
    blocks = vectors(model[1]).reshape(4, 3, -1)
    assert_allclose(fl.score(graph, "fpgm")["1"], np.concatenate([cdist(b, b).sum(1) for b in blocks]))


def test_filters_of_transposed_and_linear_layers():
    model = nn.Sequential(nn.ConvTranspose2d(3, 6, 2, stride=2), nn.Flatten(), nn.Linear(6 * 16, 5), nn.Linear(5, 2))
    graph = fl.trace(model, torch.randn(1, 3, 2, 2))
    scores = fl.score(graph, "fpgm")
    v = model[0].weight.detach().double().transpose(0, 1).flatten(1).numpy()  # (out, in * k * k)
    assert_allclose(scores["0"], cdist(v, v).sum(1))
    w = vectors(model[2])
    assert_allclose(scores["2"], cdist(w, w).sum(1))


def test_identical_filters_are_at_distance_zero():
    points = torch.randn(6, 5).repeat(2, 1)
    distances = pairwise_distances(points)
    assert distances.dtype is torch.float64
    assert bool((distances.diagonal() == 0).all())
    assert bool((distances.diagonal(6) == 0).all())
    sums = distance_sums(points)
    assert torch.equal(sums[:6], sums[6:])


def test_close_points_keep_their_distance():
    points = torch.ones(2, 4608)
    points[1, 0] += 1e-4
    assert float(pairwise_distances(points)[0, 1]) == pytest.approx(1e-4, rel=1e-3)


def test_bad_requests_are_named(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match="unknown criterion 'fpmg': did you mean 'fpgm'"):
        fl.score(graph, "fpmg")
    with pytest.raises(ValueError, match="reduce must be one of 'root', 'mean', 'sum', 'max'; not 'min'"):
        fl.score(graph, reduce="min")
    plain = fl.trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)), torch.randn(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"'bn_gamma' does not apply to group '0': it has no batch_norm"):
        fl.score(plain, "bn_gamma")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_weights_are_named(graph: fl.ChannelGraph, bad: float):
    with torch.no_grad():
        graph.model.layer2[1].conv1.weight[3, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"layer 'layer2\.1\.conv1' has NaN or infinite weights"):
        fl.score(graph, "fpgm")

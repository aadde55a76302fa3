"""Geometry held against scipy, closed forms and its own symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from torch import Tensor

from fpgmlab import geometry
from fpgmlab.geometry import (
    classical_mds,
    distance_sums,
    geometric_median,
    greedy_order,
    medoid,
    pairwise_distances,
    pca,
)

SCIPY = {
    "euclidean": ("euclidean", {}),
    "l1": ("cityblock", {}),
    "cosine": ("cosine", {}),
    3.0: ("minkowski", {"p": 3}),
}


@st.composite
def point_sets(draw: st.DrawFn, least: int = 1) -> np.ndarray:
    """Points on a coarse grid: duplicates, lines and symmetries are common."""
    shape = (draw(st.integers(least, 9)), draw(st.integers(1, 5)))
    return draw(arrays(np.float64, shape, elements=st.integers(-8, 8).map(lambda k: k / 4)))


def gradient(points: np.ndarray, x: np.ndarray) -> float:
    """Return the length of the least subgradient of the sum of distances at x."""
    away = x - points
    lengths = np.linalg.norm(away, axis=1)
    at = lengths < 1e-9 * max(1.0, float(np.abs(points).max()))
    pull = (away[~at] / lengths[~at, None]).sum(0)
    return max(0.0, float(np.linalg.norm(pull)) - at.sum())


@pytest.mark.parametrize("distance", SCIPY)
@given(points=point_sets())
def test_distances_and_sums_are_scipys(distance: str | float, points: np.ndarray):
    metric, options = SCIPY[distance]
    if distance == "cosine":
        points = points[np.abs(points).sum(1) > 0]
        assume(len(points))
    expected = cdist(points, points, metric, **options)
    found = pairwise_distances(torch.from_numpy(points), distance)
    assert found.dtype is torch.float64
    assert_allclose(found, expected, atol=1e-12)
    assert_allclose(distance_sums(torch.from_numpy(points), distance), expected.sum(1), atol=1e-11)


@pytest.mark.parametrize("shape", [(300, 40), (130, 700), (1100, 9), (700, 300)], ids=str)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_sums_of_many_points_are_scipys(shape: tuple[int, int], offset: float):
    points = torch.randn(*shape, dtype=torch.float64) * torch.rand(shape[0], 1) + offset
    points[7], points[-1] = points[3], points[3]  # duplicates
    points[11] = points[12] + 1e-9  # and what a matrix product takes for one
    sums, expected = distance_sums(points), cdist(points, points).sum(1)
    assert_allclose(sums, expected, rtol=1e-7 if shape == (700, 300) else 1e-9)  # the last is summed in float32 first
    assert sums[3] == sums[7] == sums[-1]
    assert sums[11] != sums[12]
    assert np.array_equal(sums.argsort(stable=True), np.argsort(np.round(expected, 9), kind="stable"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_is_widened_first(dtype: torch.dtype):
    points = torch.randn(300, 64).to(dtype)
    v = points.double().numpy()
    assert_allclose(distance_sums(points), cdist(v, v).sum(1), rtol=1e-9)


def test_removed_sets_are_scipys_on_trained_filters(resnet: torch.nn.Module):
    for module in resnet.modules():
        if isinstance(module, torch.nn.Conv2d):
            v = module.weight.detach().flatten(1).double().numpy()
            expected = np.argsort(cdist(v, v).sum(1), kind="stable")
            found = torch.argsort(distance_sums(module.weight.flatten(1)), stable=True).numpy()
            for ratio in np.arange(0.1, 1.0, 0.1):
                count = round(ratio * len(v))
                assert set(found[:count]) == set(expected[:count])


def test_batches_are_scored_each_for_itself():
    batch = torch.randn(3, 2, 12, 5)
    sums = distance_sums(batch)
    assert sums.shape == (3, 2, 12)
    assert_allclose(sums[2, 1], distance_sums(batch[2, 1]), rtol=1e-12)


@given(points=point_sets(), seed=st.integers(0, 99))
def test_sums_follow_the_points(points: np.ndarray, seed: int):
    """Permutation: equivariant; translation: invariant; scale: equivariant."""
    p = torch.from_numpy(points)
    sums = distance_sums(p)
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(seed))
    assert_allclose(distance_sums(p[order]), sums[order], atol=1e-12)
    assert_allclose(distance_sums(p + 3), sums, atol=1e-9)
    assert_allclose(distance_sums(4 * p), 4 * sums, atol=1e-12)
    assert_allclose(distance_sums(-p), sums, atol=1e-12)


@given(points=point_sets())
def test_identical_points_are_at_zero_and_tie(points: np.ndarray):
    p = torch.from_numpy(np.concatenate([points, points]))
    n = len(points)
    for distance in geometry.DISTANCES:
        between = pairwise_distances(p, distance)
        assert bool((between.diagonal() == 0).all())
        assert bool((between.diagonal(n) == 0).all())
        sums = distance_sums(p, distance)
        assert torch.equal(sums[:n], sums[n:])


def test_many_duplicates_tie_exactly():
    points = torch.randn(100, 200).repeat(4, 1)[torch.randperm(400)]
    sums = distance_sums(points)
    assert len(torch.unique(sums)) == 100


def test_close_points_keep_their_distance():
    points = torch.ones(2, 4608)
    points[1, 0] += 1e-4
    assert float(pairwise_distances(points)[0, 1]) == pytest.approx(1e-4, rel=1e-3)


def test_cosine_knows_sign_and_zero_and_no_length():
    points = torch.tensor([[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.0, 0.0], [0.0, 0.0], [1e-200, 2e-200]]).double()
    points[5] = torch.tensor([1e-200, 2e-200], dtype=torch.float64)
    expected = [[0, 0, 2, 1, 1, 0], [0, 0, 2, 1, 1, 0], [2, 2, 0, 1, 1, 2], [1, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 1]]
    assert_allclose(pairwise_distances(points, "cosine")[:5], expected, atol=1e-12)


@settings(max_examples=300)
@given(points=point_sets())
def test_the_medians_gradient_is_zero(points: np.ndarray):
    found = geometric_median(torch.from_numpy(points))
    assert found.converged
    assert gradient(points, found.point.numpy()) < 1e-7 * len(points)
    assert_allclose(found.distances, np.linalg.norm(points - found.point.numpy(), axis=1), atol=1e-9)


@given(points=point_sets(least=3))
def test_no_point_has_a_smaller_sum_than_the_median(points: np.ndarray):
    found = geometric_median(torch.from_numpy(points))

    def total(x: np.ndarray) -> float:
        return float(np.linalg.norm(points - x, axis=1).sum())

    best = min(minimize(total, start, method="Nelder-Mead").fun for start in (points.mean(0), points[0]))
    assert float(found.distances.sum()) <= best + 1e-6
    assert float(found.distances.sum()) <= min(map(total, points)) + 1e-9


@given(points=point_sets(), seed=st.integers(0, 99))
def test_the_median_follows_the_points(points: np.ndarray, seed: int):
    p = torch.from_numpy(points)
    assume(np.linalg.matrix_rank(points - points.mean(0)) > 1)  # on a line it need not be unique
    found = geometric_median(p)
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(seed))
    assert_allclose(geometric_median(p[order]).point, found.point, atol=1e-7)
    assert_allclose(geometric_median(p + 5).point, found.point + 5, atol=1e-7)
    assert_allclose(geometric_median(3 * p).point, 3 * found.point, atol=1e-7)


def test_medians_in_closed_form():
    square = torch.tensor([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    assert_allclose(geometric_median(square).point, [1, 1], atol=1e-10)
    # Inside a triangle with an angle of 120 degrees or more, it is that corner.
    blunt = torch.tensor([[0.0, 0.0], [1.0, 0.1], [-1.0, 0.1]])
    found = geometric_median(blunt)
    assert_allclose(found.point, [0, 0], atol=0)
    assert float(found.distances[0]) == 0
    # Fermat's point of an equilateral triangle is its centre; of a line of odd points, the middle one.
    triangle = torch.tensor([[0.0, 0], [1, 0], [0.5, 3**0.5 / 2]], dtype=torch.float64)
    assert_allclose(geometric_median(triangle).point, [0.5, 3**0.5 / 6], atol=1e-10)
    assert_allclose(geometric_median(torch.tensor([[1.0], [2], [3], [10], [70]])).point, [3])


def test_an_iterate_on_a_point_that_is_not_the_median_is_left():
    # The mean of these five is the first point; the median is elsewhere.
    points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [-1.0, 1.0], [-1.0, -1.0], [-2.0, 0.0]], dtype=torch.float64)
    assert_allclose(points.mean(0), [0, 0])
    found = geometric_median(points)
    assert found.converged
    assert_allclose(found.point, [1 / 3**0.5 - 1, 0], atol=1e-8)  # four pulls along the line, two across it
    assert gradient(points.numpy(), found.point.numpy()) < 1e-8


def test_a_slow_median_converges_too():
    # Close to a data point that only just is not the median, Weiszfeld alone needs thousands of steps.
    angle = 2 * np.pi / 3 - 1e-3
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [np.cos(angle), np.sin(angle)]], dtype=torch.float64)
    found = geometric_median(points)
    assert found.converged
    assert found.iterations < 200
    assert gradient(points.numpy(), found.point.numpy()) < 1e-6


def test_the_bound_on_iterations_is_told():
    found = geometric_median(torch.randn(20, 3), max_iterations=2)
    assert not found.converged
    assert found.iterations == 2


def test_single_and_identical_points():
    one = torch.tensor([[3.0, 4.0]])
    assert float(distance_sums(one)) == 0
    assert_allclose(geometric_median(one).point, [3, 4])
    same = one.repeat(5, 1)
    found = geometric_median(same)
    assert found.converged
    assert bool((found.distances == 0).all())
    assert bool((distance_sums(same) == 0).all())
    assert greedy_order(same).tolist() == [0, 1, 2, 3, 4]
    assert medoid(same) == 0
    assert bool((pca(same).coordinates == 0).all())
    assert bool((pca(same).shares == 0).all())


@given(points=point_sets())
def test_greedy_removal_takes_the_sums_anew(points: np.ndarray):
    between, left, expected = cdist(points, points), list(range(len(points))), []
    while left:
        sums = between[np.ix_(left, left)].sum(1)
        expected.append(left.pop(int(np.flatnonzero(sums <= sums.min() + 1e-9)[0])))
    found = greedy_order(torch.from_numpy(points)).tolist()
    # Up to ties, which rounding may break: the sums of what was removed are the same.
    left_a, left_b = list(range(len(points))), list(range(len(points)))
    for a, b in zip(found, expected, strict=True):
        if a != b:
            sums = between[np.ix_(left_a, left_a)].sum(1)
            assert sums[left_a.index(a)] == pytest.approx(sums.min(), abs=1e-9)
            return
        left_a.remove(a)
        left_b.remove(b)


def test_greedy_removal_spares_a_part_of_a_large_cluster():
    generator = torch.Generator().manual_seed(0)
    cluster = torch.randn(12, 3, generator=generator) * 0.1 + torch.tensor([3.0, 0, 0])
    points = torch.cat([cluster, torch.randn(8, 3, generator=generator) - torch.tensor([1.0, 0, 0])])
    assert int((torch.argsort(distance_sums(points))[:10] < 12).sum()) == 10
    assert int((greedy_order(points)[:10] < 12).sum()) < 10


@given(points=point_sets())
def test_maps_agree_with_each_other_and_with_svd(points: np.ndarray):
    p = torch.from_numpy(points)
    found = pca(p, 2)
    _, values, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    values = np.concatenate([values, [0, 0]])[:2]
    assert_allclose(found.coordinates.norm(dim=0), values, atol=1e-6)
    assert_allclose(found.project(p), found.coordinates, atol=1e-9)
    scaled, shares = classical_mds(pairwise_distances(p), 2)
    assert_allclose(scaled.norm(dim=0), values, atol=1e-5)
    assert_allclose(shares, found.shares, atol=1e-6)
    if values[0] > values[1] * 1.01 and values[1] > 1e-3:  # distinct: the picture is unique, with its signs
        assert_allclose(scaled[:, 0].abs(), found.coordinates[:, 0].abs(), atol=1e-5)
    assert bool((found.coordinates.abs().amax(0) - found.coordinates.amax(0) < 1e-6).all())


def test_more_dimensions_than_points_have():
    found = pca(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 3)
    assert found.coordinates.shape == (2, 3)
    assert_allclose(found.shares, [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("bad", ["manhattan", 0.5, True, None])
def test_unknown_distances_are_named(bad: object):
    with pytest.raises(ValueError, match="distance must be one of 'euclidean', 'l1', 'cosine' or a number >= 1"):
        pairwise_distances(torch.randn(3, 2), bad)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (torch.zeros(3), r"got torch.float32 \(3,\)"),
        (torch.zeros(3, 2, dtype=torch.int64), "got torch.int64"),
        (torch.zeros(0, 4), "at least one"),
        (torch.tensor([[1.0, torch.nan], [0, 0]]), "1 of 2 points are NaN or infinite"),
        (np.zeros((3, 2)), "got ndarray"),
    ],
)
def test_what_is_no_set_of_points_is_named(points: Tensor, words: str):
    for function in (distance_sums, geometric_median, pairwise_distances, pca):
        with pytest.raises(ValueError, match=words):
            function(points)

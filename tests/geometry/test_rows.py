"""Few equations, solved by their number, against numpy on the equations themselves and against their moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fpgmlab.geometry.least_squares import Solver, best_ridge, solve
from fpgmlab.geometry.moments import Moments
from fpgmlab.geometry.rows import Rows, gathered
from tests.geometry.test_least_squares import equations


def by_numpy(a: np.ndarray, y: np.ndarray, start: np.ndarray, ridge: float, offset: bool) -> np.ndarray:
    """The same minimum as one system of equations: a row of its own for each weight that the ridge draws at."""
    features = a.shape[1]
    middle = a.mean(0) if offset else 0.0
    strength = ridge * ((a - middle) ** 2).sum() / features
    left = np.concatenate([a, np.ones((len(a), 1))], 1) if offset else a
    drawn = np.sqrt(strength) * np.eye(features, left.shape[1])
    return np.linalg.lstsq(np.concatenate([left, drawn]), np.concatenate([y, np.sqrt(strength) * start]), rcond=None)[0]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000), n=st.integers(2, 20), features=st.integers(20, 40), offset=st.booleans(),
    ridge=st.sampled_from([1e-5, 1e-3, 1.0]),
)  # fmt: skip
def test_the_ridge_solution_is_numpys(seed: int, n: int, features: int, offset: bool, ridge: float):
    a, y = equations(seed, n, features)
    start = torch.randn(2, features, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    kept = gathered(a, y)
    assert isinstance(kept, Rows)
    fit = solve(kept, start, ridge, offset)
    for s in range(2):
        expected = by_numpy(a[s].numpy(), y[s].numpy(), start[s].numpy(), ridge, offset)
        found = np.concatenate([fit.weight[s], fit.offset[s][None]]) if offset else fit.weight[s].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("twice", [True, False])
def test_without_a_ridge_it_is_the_nearest_solution(offset: bool, twice: bool):
    a, y = equations(n=8, features=20)
    if twice:  # the same pictures with other targets: nothing meets them all
        a[:, 4:] = a[:, :4]
    start = torch.randn(2, 20, 3, dtype=torch.float64)
    fit = solve(gathered(a, y), start, 0.0, offset)
    for s in range(2):
        left, right = a[s].numpy(), (y[s] - a[s] @ start[s]).numpy()
        if offset:
            left, right = left - left.mean(0), right - right.mean(0)
        step = np.linalg.lstsq(left, right, rcond=1e-10)[0]  # the shortest
        np.testing.assert_allclose(fit.weight[s] - start[s], step, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("offset", [True, False])
def test_in_parts_they_are_rows_while_they_are_few_and_moments_beyond(offset: bool):
    a, y = equations(n=30, features=20)
    parts = [gathered(a[:, i : i + 6], y[:, i : i + 6]) for i in range(0, 30, 6)]
    start = torch.randn(2, 20, 3, dtype=torch.float64)
    total = parts[0]
    for number, part in enumerate(parts[1:], start=2):
        total = total + part
        n = 6 * number
        assert isinstance(total, Rows if n <= 20 else Moments)
        expected = Moments.of(a[:, :n], y[:, :n])
        torch.testing.assert_close(total.yy, expected.yy)
        torch.testing.assert_close(total.y, expected.y)
        torch.testing.assert_close(total.a, expected.a)
        assert total.count == n
        assert total.finite()
        fit = solve(total, start, 1e-2, offset)
        torch.testing.assert_close(fit.weight, solve(expected, start, 1e-2, offset).weight)
        torch.testing.assert_close(fit.error(parts[0]), fit.error(Moments.of(a[:, :6], y[:, :6])))


def test_other_targets_and_the_best_ridge_are_those_of_the_moments():
    a, y = equations(n=40, features=50)
    other, start = torch.randn_like(y) + 7, torch.zeros(2, 50, 3)
    train, held = slice(0, 30), slice(30, 40)
    few = [gathered(a[:, part], y[:, part]) for part in (train, held)]
    sums = [Moments.of(a[:, part], y[:, part]) for part in (train, held)]
    importance = torch.ones(2, 3, dtype=torch.float64)
    assert best_ridge(*few, start, True, importance)[0] == best_ridge(*sums, start, True, importance)[0]
    changed = few[0].with_targets([(a[:, train], other[:, train])])
    fit = Solver(few[0], 1e-3).solve(changed, start)
    torch.testing.assert_close(fit.weight, solve(Moments.of(a[:, train], other[:, train]), start, 1e-3).weight)


@pytest.mark.parametrize("n", [5, 500])
@pytest.mark.parametrize("where", [0, 1])
def test_what_is_no_number_is_told(n: int, where: int):
    a, y = equations(n=n, features=20)
    assert gathered(a, y).finite()
    (a, y)[where][1, 3, 1] = torch.nan
    assert not gathered(a, y).finite()
    (a, y)[where][1, 3, 1] = torch.inf
    assert not gathered(a, y).finite()


@pytest.mark.parametrize("ridge", [0.0, 1e-5, 1.0])
def test_features_that_vary_by_rounding_alone_keep_their_weights(ridge: float):
    a = torch.full((1, 3, 5), 0.37) + 1e-8 * torch.randn(1, 3, 5)
    start = torch.randn(1, 5, 2, dtype=torch.float64)
    fit = solve(gathered(a, torch.randn(1, 3, 2)), start, ridge)
    torch.testing.assert_close(fit.weight, start, rtol=1e-3, atol=1e-3)

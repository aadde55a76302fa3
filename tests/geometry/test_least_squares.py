"""Least squares from second moments against numpy's, on the equations themselves."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fpgmlab.geometry.least_squares import RIDGES, Fit, Solver, best_ridge, solve
from fpgmlab.geometry.moments import Moments


def equations(seed: int = 0, n: int = 60, features: int = 7, targets: int = 3, systems: int = 2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(systems, n, features, generator=generator, dtype=dtype) + 3
    w = torch.randn(systems, features, targets, generator=generator, dtype=dtype)
    y = a @ w + torch.randn(systems, n, targets, generator=generator, dtype=dtype) + 5
    return a, y


def lstsq(a: torch.Tensor, y: torch.Tensor, offset: bool) -> np.ndarray:
    left = np.concatenate([a, np.ones((len(a), 1))], axis=1) if offset else a.numpy()
    return np.linalg.lstsq(left, y.numpy(), rcond=None)[0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(20, 80), features=st.integers(1, 9), offset=st.booleans())
def test_without_a_ridge_it_is_numpys_solution(seed: int, n: int, features: int, offset: bool):
    a, y = equations(seed, n, features)
    fit = solve(Moments.of(a, y), torch.zeros(2, features, 3), 0.0, offset)
    for system in range(2):
        expected = lstsq(a[system], y[system], offset)
        found = np.concatenate([fit.weight[system], fit.offset[system][None]]) if offset else fit.weight[system]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_sums_of_parts_are_those_of_the_whole():
    a, y = equations()
    whole, parts = Moments.of(a, y), Moments.of(a[:, :17], y[:, :17]) + Moments.of(a[:, 17:], y[:, 17:])
    for name in ("a", "y", "aa", "ay", "yy"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
        torch.testing.assert_close(
            getattr(whole, name), getattr(Moments.of(a.float(), y.float()), name), rtol=1e-5, atol=1e-3
        )
    assert parts.count == whole.count == 60


def test_far_from_zero_sums_in_single_precision_keep_their_digits():
    a, y = equations()
    exact = solve(Moments.of(a + 1000, y), torch.zeros(2, 7, 3), 1e-4)
    single = solve(Moments.of((a + 1000).float(), y.float()), torch.zeros(2, 7, 3), 1e-4)
    torch.testing.assert_close(single.weight, exact.weight, rtol=1e-2, atol=1e-2)


def test_errors_are_those_of_the_equations():
    a, y = equations()
    fit = Fit(torch.randn(2, 7, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64))
    expected = (a @ fit.weight + fit.offset.unsqueeze(1) - y).square().sum(1)
    torch.testing.assert_close(fit.error(Moments.of(a, y)), expected)


def test_other_targets_are_as_if_they_had_been_there():
    a, y = equations()
    other = torch.randn_like(y) + 7
    changed = Moments.of(a, y).with_targets([(a[:, :20], other[:, :20]), (a[:, 20:], other[:, 20:])])
    expected = Moments.of(a, other)
    for name in ("a", "y", "aa", "ay", "yy"):
        torch.testing.assert_close(getattr(changed, name), getattr(expected, name))
    start = torch.randn(2, 7, 3)
    solver = Solver(Moments.of(a, y), 1e-3)
    torch.testing.assert_close(solver.solve(changed, start).weight, solve(expected, start, 1e-3).weight)


def test_a_strong_ridge_keeps_what_is_there_and_a_ridge_is_its_closed_form():
    a, y = equations()
    start = torch.randn(2, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(solve(Moments.of(a, y), start, 1e12).weight, start, rtol=1e-6, atol=1e-6)
    fit = solve(Moments.of(a, y), start, 0.5, offset=False)
    for s in range(2):
        d = 0.5 * (a[s].T @ a[s]).diagonal().mean()
        expected = torch.linalg.solve(a[s].T @ a[s] + d * torch.eye(7), a[s].T @ y[s] + d * start[s])
        torch.testing.assert_close(fit.weight[s], expected)


def test_directions_without_equations_keep_the_weights_that_are_there():
    a, y = equations()
    a[..., 5:] = 2.0  # constant: with an offset they tell nothing
    start = torch.randn(2, 7, 3, dtype=torch.float64)
    for ridge in (0.0, 1e-3):
        fit = solve(Moments.of(a, y), start, ridge)
        torch.testing.assert_close(fit.weight[:, 5:], start[:, 5:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 1e-5, 1.0])
def test_features_that_vary_by_rounding_alone_keep_their_weights(ridge: float):
    generator = torch.Generator().manual_seed(0)
    a = torch.tensor([0.37, 0.1]).reshape(2, 1, 1).expand(2, 333, 1)
    parts = [Moments.of(a, 2 + 1e-3 * torch.randn(2, 333, 3, generator=generator)) for _ in range(7)]
    moments = functools.reduce(operator.add, parts)
    start = torch.randn(2, 1, 3, generator=generator)
    torch.testing.assert_close(solve(moments, start, ridge).weight, start.double(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("noise", [0.01, 3.0])
def test_the_ridge_is_that_of_the_least_error_on_held_out_equations(noise: float):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(1, 40, 30, generator=generator, dtype=torch.float64)
    w = torch.randn(1, 30, 2, generator=generator, dtype=torch.float64)
    y = a @ w + noise * torch.randn(1, 40, 2, generator=generator, dtype=torch.float64)
    train, held = Moments.of(a[:, :32], y[:, :32]), Moments.of(a[:, 32:], y[:, 32:])
    even = torch.ones(1, 2, dtype=torch.float64)
    start = torch.zeros(1, 30, 2)
    ridge, _, fit = best_ridge(train, held, start, True, even)
    errors = {r: float(solve(train, start, r).error(held).sum()) for r in RIDGES}
    near = RIDGES.index(ridge)
    assert all(errors[r] >= errors[ridge] for r in RIDGES[max(0, near - 1) : near + 2])
    torch.testing.assert_close(fit.weight, solve(train, start, ridge).weight)

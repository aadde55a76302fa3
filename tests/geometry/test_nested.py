"""Nested least squares held against solving each of them by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fpgmlab.geometry.least_squares import solve
from fpgmlab.geometry.moments import Moments
from fpgmlab.geometry.nested import nested_fits

COUNTS = (1, 4, 9, 12)


def equations(systems: int = 2, features: int = 12, targets: int = 5, count: int = 200) -> tuple[torch.Tensor, ...]:
    """What is read, correlated and off its mean, and weights."""
    torch.manual_seed(0)
    mixing = torch.randn(systems, features, features, dtype=torch.float64)
    read = torch.randn(systems, count, features, dtype=torch.float64) @ mixing + 3
    return read, torch.randn(systems, features, targets, dtype=torch.float64)


@pytest.mark.parametrize("offset", [False, True])
def test_each_count_is_the_ridge_solution_of_its_own_equations(offset: bool):
    read, start = equations()
    centred = read - read.mean(1, keepdim=True) if offset else read
    gram = centred.transpose(1, 2) @ centred
    for count, found in zip(COUNTS, nested_fits(gram, start, COUNTS), strict=True):
        moments = Moments.of(read[:, :, :count], read @ start, exact=True)
        for i in range(len(read)):
            strength = 1e-3 * gram[i].diagonal().mean()  # of all features, which `solve` does not know
            one = Moments(moments.count, *(part[i : i + 1] for part in list(vars(moments).values())[1:]))
            relative = float(strength / gram[i, :count, :count].diagonal().mean())
            expected = solve(one, start[i : i + 1, :count], relative, offset).weight
            torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-8, atol=1e-8)


def test_it_is_what_numpy_finds():
    read, start = equations(systems=1)
    for count, found in zip(COUNTS, nested_fits(read.transpose(1, 2) @ read, start, COUNTS), strict=True):
        a, w = read[0].numpy(), start[0].numpy()
        root = np.sqrt(1e-3 * (a * a).sum(0).mean()) * np.eye(count)
        left, right = np.vstack([a[:, :count], root]), np.vstack([a @ w, root @ w[:count]])
        np.testing.assert_allclose(found[0].numpy(), np.linalg.lstsq(left, right)[0], rtol=1e-8, atol=1e-8)


def test_a_twin_is_taken_over():
    read, start = equations(systems=1, features=3)
    read[:, :, 2] = read[:, :, 0]
    (found,) = nested_fits(read.transpose(1, 2) @ read, start, [2], ridge=1e-12)
    torch.testing.assert_close(found[:, 0], start[:, 0] + start[:, 2])
    torch.testing.assert_close(found[:, 1], start[:, 1])


def test_features_that_say_nothing_change_nothing():
    start = torch.randn(2, 6, 3, dtype=torch.float64)
    (found,) = nested_fits(torch.zeros(2, 6, 6), start, [4])
    assert torch.equal(found, start[:, :4])


def test_rounding_that_leaves_no_positive_matrix_raises_the_ridge():
    gram = torch.eye(3, dtype=torch.float64).unsqueeze(0)
    gram[0, 2, 2] = -0.1
    (found,) = nested_fits(gram, torch.ones(1, 3, 1), [2])
    assert torch.equal(found, torch.ones(1, 2, 1, dtype=torch.float64))


def test_no_ridge_is_refused():
    with pytest.raises(ValueError, match="ridge must be > 0, relative to the mean diagonal; got 0"):
        nested_fits(torch.eye(2).unsqueeze(0), torch.ones(1, 2, 1), [1], ridge=0)

"""Backward elimination against what it is short for: lstsq for every candidate, at every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from fpgmlab.geometry.elimination import Reader, eliminate

RIDGE = 0.01


def reader(rows: np.ndarray, weight: np.ndarray, channels: list[int], ridge: float = RIDGE) -> Reader:
    return Reader(torch.from_numpy(rows.T @ rows), torch.from_numpy(weight), torch.tensor(channels), ridge)


def with_ridge(rows: np.ndarray) -> np.ndarray:
    """Return the equations, and those that hold weights to what they are."""
    return np.concatenate([rows, (RIDGE * np.square(rows).sum(0).mean()) ** 0.5 * np.eye(rows.shape[1])])


def error_without(rows: np.ndarray, weight: np.ndarray, channels: list[int], gone: set[int]) -> float:
    """Return the squared error, and the ridge's, of the best weights of what is left."""
    stay = [i for i, channel in enumerate(channels) if channel not in gone]
    left = with_ridge(rows)
    wanted = left @ weight
    best = np.linalg.lstsq(left[:, stay], wanted, rcond=None)[0]
    return float(np.square(wanted - left[:, stay] @ best).sum())


def by_hand(systems: list, channels: int, blocks: list[int] | None = None) -> np.ndarray:
    blocks = blocks or [0] * channels
    turns = max(blocks) + 1
    scores, gone = np.zeros(channels), set()
    for step in range(channels):
        there = [c for c in range(channels) if c not in gone and blocks[c] == step % turns]
        errors = [sum(error_without(*system, gone | {c}) for system in systems) for c in there]
        best = int(np.argmin(errors))
        gone.add(there[best])
        scores[there[best]] = errors[best]
    return scores


def system(seed: int, channels: list[int], outputs: int, equations: int = 40) -> tuple:
    random = np.random.default_rng(seed)
    features = len(channels)
    mixed = random.normal(size=(features, features)) * random.uniform(0, 1, features) ** 2
    return random.normal(size=(equations, features)) @ mixed, random.normal(size=(features, outputs)), channels


SYSTEMS = {
    "one feature a channel": ([system(0, list(range(7)), 3)], 7),
    "several, taps outside": ([system(1, [0, 1, 2, 3, 4] * 3, 4)], 5),
    "two readers": ([system(2, list(range(6)), 2), system(3, [5, 4, 3, 2, 1, 0] * 2, 5)], 6),
    "readers of some channels each": ([system(4, [0, 1, 2], 2), system(5, [3, 4, 5], 2), system(6, [1, 4], 1)], 6),
    "others in between, and one channel twice": ([system(7, [-1, 0, 3, 1, -1, 2, 3], 3)], 4),
    "fewer equations than features": ([system(8, list(range(8)) * 2, 3, equations=5)], 8),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_order_and_errors_are_those_of_lstsq_for_every_candidate(name: str):
    systems, channels = SYSTEMS[name]
    scores = eliminate([reader(*s) for s in systems], channels)
    assert_allclose(scores, by_hand(systems, channels), rtol=1e-8)


def test_blocks_take_turns():
    systems, blocks = [system(9, list(range(8)), 3)], [0, 1, 0, 1, 1, 0, 1, 0]
    scores = eliminate([reader(*s) for s in systems], 8, blocks)
    assert_allclose(scores, by_hand(systems, 8, blocks), rtol=1e-8)
    assert [blocks[i] for i in scores.argsort()] == [0, 1] * 4


def test_what_others_are_made_of_goes_for_nothing_but_only_once():
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 6))
    rows[:, 4] = rows[:, 1]  # a copy
    rows[:, 5] = rows[:, 0] - 2 * rows[:, 2]  # the sum of two
    weight = random.normal(size=(6, 3))
    scores = eliminate([reader(rows, weight, list(range(6)), ridge=1e-12)], 6)
    order = scores.argsort().tolist()
    assert len({1, 4} & set(order[:2])) == 1
    assert len({0, 2, 5} & set(order[:2])) == 1
    assert scores[order[1]] < 1e-6
    assert scores[order[2]] > 1


def test_scores_rise_to_the_whole_error():
    rows, weight, channels = system(1, list(range(9)), 4)
    scores = eliminate([reader(rows, weight, channels)], 9)
    assert bool((scores >= 0).all())
    assert float(scores.max()) == pytest.approx(np.square(with_ridge(rows) @ weight).sum())


def test_nobody_misses_what_nobody_reads():
    scores = eliminate([reader(*system(0, [0, 2], 3))], 4)
    assert scores.argsort(stable=True).tolist()[:2] == [1, 3]
    assert scores[[1, 3]].tolist() == [0, 0]
    assert eliminate([], 3).tolist() == [0, 0, 0]
    assert eliminate([], 0).tolist() == []


def test_several_at_a_time_are_nearly_as_good():
    """The error at half of the channels, and the order itself: a wide group against one channel at a time."""
    systems = [system(3, list(range(160)), 20, equations=800), system(4, list(range(160)) * 3, 10, equations=900)]
    readers = [reader(*s) for s in systems]
    wide = eliminate(readers, 160)
    exact = eliminate(readers, 160, blocks=None, wide=False)
    assert len(wide.unique()) == 160
    for share in (0.25, 0.5, 0.75):
        at = int(160 * share)
        assert float(wide.sort().values[at]) <= 1.02 * float(exact.sort().values[at])
    gone = set(wide.argsort().tolist()[:80])
    error = sum(error_without(*s, gone) for s in systems)
    assert float(wide.sort().values[79]) == pytest.approx(error)


def test_wide_groups_keep_their_blocks_and_copies():
    random = np.random.default_rng(0)
    rows = np.tile(random.normal(size=(600, 96)), 2)  # each has a copy in the other block
    both = reader(rows, random.normal(size=(192, 16)), list(range(192)))
    scores = eliminate([both], 192, [0] * 96 + [1] * 96)
    order = scores.argsort().tolist()
    assert [i // 96 for i in order] == [0, 1] * 96
    first = [i % 96 for i in order[:60]]
    assert len(set(first)) == 60  # no channel goes with its copy


def test_rounding_raises_the_ridge_and_nan_is_told():
    gram = torch.eye(3) + 1e-3 * (torch.ones(3, 3) - 2 * torch.eye(3))
    gram[0, 1] = gram[1, 0] = 1 + 1e-6  # no numbers have these moments
    assert bool(torch.isfinite(eliminate([Reader(gram, torch.ones(3, 1), torch.arange(3), 1e-9)], 3)).all())
    assert eliminate([Reader(torch.zeros(3, 3), torch.zeros(3, 1), torch.arange(3), 1e-3)], 3).tolist() == [0, 0, 0]
    gram[2, 2] = torch.nan
    with pytest.raises(ValueError, match="second moments of 3 features must be finite"):
        eliminate([Reader(gram, torch.ones(3, 1), torch.arange(3), 1e-9)], 3)
    with pytest.raises(ValueError, match="with a ridge > 0; got 0"):
        eliminate([Reader(torch.eye(3), torch.ones(3, 1), torch.arange(3), 0)], 3)


def test_blocks_of_different_sizes_are_told():
    with pytest.raises(ValueError, match=r"blocks must be 3 numbers, each as often as any other; got \[0, 0, 1\]"):
        eliminate([], 3, [0, 0, 1])

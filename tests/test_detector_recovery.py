"""What the study of recovered detectors rests on: its average precision, its intervals, its folds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import fpgmlab as fl
from tests.benchmarks import detector_recovery, paired
from tests.benchmarks.paired import Found, average_precision, bootstrap, difference, found_by
from tests.benchmarks.tree_folds import FOLDS, fold, part_of


def some(rng: np.random.Generator, tiles: int = 6, rate: float = 0.5) -> Found:
    tile = np.sort(rng.integers(tiles, size=40))
    return Found(tile, rng.random(40), rng.random(40) < rate, rng.integers(3, 12, size=tiles))


class Said(torch.nn.Module):
    """Gives maps that were drawn, whatever the picture."""

    def __init__(self, size: int) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.maps = [torch.randn(1, 18, size // s, size // s, generator=drawn) for s in (8, 16, 32)]

    def forward(self, x: Tensor) -> list[Tensor]:
        return [one.expand(len(x), -1, -1, -1) + x.mean() for one in self.maps]


def test_average_precision_is_that_of_the_task():
    task = fold("0", 128)
    model = Said(128).eval()
    ours, theirs = average_precision([found_by(model, task)]), fl.evaluate(model, task, batch_size=8)["map50"]
    assert theirs > 0
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_a_weight_counts_a_tile_so_many_times():
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = some(rng)
        weights = rng.integers(4, size=6).astype(float)
        copies = [number for number, weight in enumerate(weights) for _ in range(int(weight))]
        rows = [(new, found.tile == old) for new, old in enumerate(copies)]
        repeated = Found(
            np.concatenate([np.full(mine.sum(), new) for new, mine in rows]),
            np.concatenate([found.score[mine] for _, mine in rows]),
            np.concatenate([found.right[mine] for _, mine in rows]),
            found.objects[copies],
        )
        assert average_precision([found], [weights]) == pytest.approx(average_precision([repeated]), abs=1e-12)


def test_perfect_and_empty():
    perfect = Found(np.zeros(4, int), np.array([0.9, 0.8, 0.7, 0.6]), np.ones(4, bool), np.array([4]))
    nothing = Found(np.zeros(0, int), np.zeros(0), np.zeros(0, bool), np.array([4]))
    assert average_precision([perfect]) == 1
    assert average_precision([nothing]) == average_precision([perfect], [np.zeros(1)]) == 0
    assert average_precision([perfect, nothing]) == pytest.approx(51 / 101)  # half of the objects: recalls 0 to 0.5


def test_variance_of_the_bootstrap_is_its_closed_form():
    """Of a mean over tiles and seeds: Owen 2007, from the moments of multinomial weights."""
    rng = np.random.default_rng(1)
    tiles, seeds = (10, 19), 3
    values = [2 * rng.normal(size=(1, seeds)) + rng.normal(size=(count, seeds)) for count in tiles]

    def statistic(weights: list[np.ndarray], picked: list[int]) -> float:
        return sum(float(w @ v[:, s]) / len(w) for w, v, s in zip(weights, values, picked, strict=True))

    expected = 0.0
    for v in values:
        rows, columns = (1 + np.eye(count) - 1 / count for count in v.shape)
        covered = np.einsum("is,jt,ij,st->", v, v, rows, columns) - v.sum() ** 2
        expected += covered / v.size**2
    found = bootstrap(statistic, tiles, seeds, draws=5_000)
    assert found.value == pytest.approx(sum(v.mean() for v in values))
    assert found.error == pytest.approx(np.sqrt(expected), rel=0.05)  # of 5,000 draws: 1 %
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * found.error, rel=0.15)


def test_pairs_are_paired():
    """Two networks that do the same on every tile differ by nothing in each draw; one that is wrong always, by all."""
    rng = np.random.default_rng(2)
    ways = [[some(rng) for _ in range(3)] for _ in range(2)]
    same = difference(ways, ways, draws=50)
    assert (same.value, same.low, same.high, same.error) == (0, 0, 0, 0)
    wrong = [[Found(one.tile, one.score, np.zeros(40, bool), one.objects) for one in row] for row in ways]
    apart = difference(ways, wrong, draws=200)
    assert apart.low > 0
    opposite = difference(wrong, ways, draws=200)
    assert (opposite.low, opposite.high) == pytest.approx((-apart.high, -apart.low))


def test_each_tile_is_judged_once_by_networks_that_have_not_seen_it():
    shipped = fl.tasks.trees()
    count = Counter(part_of(Path(path).stem) for data in (shipped.train, shipped.val) for path in data.paths)
    assert sum(count.values()) == 47
    judged = [part for name in detector_recovery.JUDGED for part in FOLDS[name][1]]
    assert sorted(judged) == sorted(count)
    for train, val in FOLDS.values():
        assert not set(train) & set(val)
    seen, kept = FOLDS["recipe"]
    assert set(seen + kept) == set(FOLDS["0"][0])  # the tiles of fold 0 had no say in the recipe
    task = fold("0", 128)
    assert (len(task.train), len(task.val)) == (len(shipped.train), len(shipped.val))
    assert sum(len(labels) for _, _, labels in task.val) == 346


def test_what_was_found_is_stored_whole(tmp_path: Path):
    found = some(np.random.default_rng(3))
    path = tmp_path / "again_0.npz"
    paired.whole(path, lambda part: paired.save(part, found, 12.5))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    back = paired.load(path)
    assert all(np.array_equal(getattr(back, name), value) for name, value in vars(found).items())
    assert paired.seconds_of(path) == 12.5


def test_another_machine_goes_on_from_what_is_stored(tmp_path, monkeypatch):
    stored = pd.read_parquet(detector_recovery.RESULT.with_suffix(".parquet"))
    monkeypatch.setattr(detector_recovery, "OUTPUT", tmp_path)
    detector_recovery.restore()
    order = ["network", "fold", "way", "seed", "tile"]
    pd.testing.assert_frame_equal(
        *(
            each.sort_values(order, kind="stable", ignore_index=True)
            for each in (detector_recovery.detections(), stored)
        )
    )

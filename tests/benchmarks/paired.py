"""Two detectors on the same tiles: average precision of what several networks found, each on its own fold, and the
interval of a difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import fpgmlab as fl

Floats = NDArray[np.float64]
Statistic = Callable[[Sequence[Floats], Sequence[int]], float]
RECALLS = np.linspace(0, 1, 101)  # of COCO's evaluation


@dataclass(frozen=True, eq=False)
class Found:
    """What one network found on the tiles of its fold.

    Attributes
    ----------
    tile : array, (detections,) int
    score : array, (detections,)
    right : array, (detections,) bool
        Whether it overlaps a labelled box, not found by a surer one, by at least a half.
    objects : array, (tiles,) int
        The labelled boxes of each tile.
    """

    tile: NDArray[np.int64]
    score: Floats
    right: NDArray[np.bool_]
    objects: NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A figure, the 95 % interval around it, and its standard error."""

    value: float
    low: float
    high: float
    error: float


@torch.no_grad()
def found_by(model: nn.Module, task: fl.tasks.Detection) -> Found:
    """Return what a network finds in a task's validation tiles, of one class; the model is in eval mode."""
    metric = task.metric()
    for inputs, targets in task.val_batches(8):
        metric.update(model(inputs), targets)
    found, wanted = (
        torch.cat(rows).split(torch.cat(counts).tolist())
        for rows, counts in ((metric.found, metric.found_counts), (metric.wanted, metric.wanted_counts))
    )
    right = [
        fl.tasks.detection.outcomes({"boxes": rows[:, 1:5], "scores": rows[:, 5], "labels": rows[:, 0]}, boxes)[0]
        for rows, boxes in zip(found, wanted, strict=True)
    ]
    return Found(
        np.repeat(np.arange(len(found)), [len(rows) for rows in found]),
        torch.cat(found)[:, 5].double().numpy(),
        torch.cat(right).numpy(),
        np.array([len(boxes) for boxes in wanted]),
    )


def average_precision(parts: Sequence[Found], weights: Sequence[Floats] | None = None) -> float:
    """Return COCO's average precision of all detections ranked together, tiles counting ``weights`` times.

    Parameters
    ----------
    parts : sequence of Found
        Of networks that each judged tiles of its own.
    weights : sequence of array, (tiles,), optional
        For each part; 1 when left out.
    """
    if weights is None:
        weights = [np.ones(len(part.objects)) for part in parts]
    scores = np.concatenate([part.score for part in parts])
    counts = np.concatenate([weight[part.tile] for part, weight in zip(parts, weights, strict=True)])
    order = np.argsort(-scores, kind="stable")
    order = order[counts[order] > 0]
    right = np.cumsum((counts * np.concatenate([part.right for part in parts]))[order])
    objects = sum(float(weight @ part.objects) for part, weight in zip(parts, weights, strict=True))
    if not len(order) or not objects:
        return 0.0
    precision = np.maximum.accumulate((right / np.cumsum(counts[order]))[::-1])[::-1]
    places = np.searchsorted(right / objects, RECALLS)
    return float(np.append(precision, 0.0)[places].mean())


def bootstrap(
    statistic: Statistic, tiles: Sequence[int], seeds: int, draws: int = 2000, generator: int = 0
) -> Interval:
    """Return a figure's mean over the seeds with a percentile interval over tiles and seeds, both drawn anew.

    In each draw tiles are drawn with replacement within their fold, the same for every network, and in each fold as
    many seeds as there are, with replacement, independently of the tiles and of the other folds (Owen, *The pigeonhole
    bootstrap*, Ann. Appl. Stat. 1, 2007). The variance that seeds add comes out smaller by a factor of
    (seeds - 1) / seeds; with one seed it is left out.

    Parameters
    ----------
    statistic : callable
        Of the weights of the tiles, (tiles,) for each fold, and of one seed for each fold.
    tiles : sequence of int
        How many each fold has.
    """
    whole = [np.ones(count) for count in tiles]
    value = float(np.mean([statistic(whole, [seed] * len(tiles)) for seed in range(seeds)]))
    rng, drawn = np.random.default_rng(generator), np.empty(draws)
    for number in range(draws):
        weights = [rng.multinomial(count, np.full(count, 1 / count)).astype(float) for count in tiles]
        picked = rng.integers(seeds, size=(seeds, len(tiles)))
        drawn[number] = np.mean([statistic(weights, row) for row in picked.tolist()])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high), float(drawn.std(ddof=1)))


def difference(
    first: Sequence[Sequence[Found]], second: Sequence[Sequence[Found]], draws: int = 2000, generator: int = 0
) -> Interval:
    """Return by how much the average precision of ``first`` is above that of ``second``, paired by tile and seed.

    Parameters
    ----------
    first, second : sequence over folds of sequence over seeds of Found
    """

    def statistic(weights: Sequence[Floats], picked: Sequence[int]) -> float:
        of = [[fold[seed] for fold, seed in zip(way, picked, strict=True)] for way in (first, second)]
        return average_precision(of[0], weights) - average_precision(of[1], weights)

    return bootstrap(statistic, [len(fold[0].objects) for fold in first], len(first[0]), draws, generator)


def whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name first, so that it is there whole or not at all."""
    part = path.with_name(f"part_{os.getpid()}_{path.name}")
    write(part)
    part.rename(path)


def save(path: Path, found: Found, seconds: float) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, seconds=np.array(seconds), **vars(found))


def load(path: Path) -> Found:
    with np.load(path) as there:
        return Found(*(there[name] for name in ("tile", "score", "right", "objects")))


def seconds_of(path: Path) -> float:
    with np.load(path) as there:
        return float(there["seconds"])

"""A network that is swept in a moment."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import fpgmlab as fl
from tests.conftest import blobs

OPTIONS = {"ratios": (0.25, 0.5), "batch_size": 10, "progress": False}


def small_task(count: int = 40, seed: int = 1) -> fl.tasks.Classification:
    return fl.tasks.Classification(blobs(8), blobs(count, seed=seed), classes=3)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)]
    return nn.Sequential(*layers).eval()


def small_graph() -> fl.ChannelGraph:
    return fl.trace(small_network(), small_task().example_input)


def same(one: fl.Curves, other: fl.Curves) -> bool:
    """Whether all numbers are the same, bit by bit."""
    return one.frame.equals(other.frame) and (one.sums, one.whole, one.changes, one.complete) == (
        other.sums,
        other.whole,
        other.changes,
        other.complete,
    )


def run(graph: fl.ChannelGraph, path: Path | None, task: object = None, **options: object) -> fl.Curves:
    """Sweep in a moment."""
    scores = options.pop("scores", None) or fl.score(graph, "l1")
    return fl.sweep(graph, scores, task or small_task(), path=path, **{**OPTIONS, **options})


def stop_after(graph: fl.ChannelGraph, path: Path, batches: int, **options: object) -> fl.Curves:
    """Sweep until so many batches are finished."""
    seen: list[fl.Curves] = []
    return run(graph, path, on_update=seen.append, stop=lambda: len(seen) >= batches, **options)


def normed_task() -> fl.tasks.Classification:
    """Return a task for `normed_model`."""
    return fl.tasks.Classification(blobs(300), blobs(40, seed=1), classes=3)


def normed_model() -> nn.Module:
    """Return two convolutions with batch norms and a linear layer, untrained."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, 3))

"""Whoever solves least squares takes as many pictures as its layers need, and runs large ones in parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.criteria import Reconstruction
from fpgmlab.graph import enough_pictures, pictures
from fpgmlab.graph.moments import read_moments
from tests.conftest import blobs


class Counted(fl.tasks.Classification):
    """Notes how many training pictures it gives."""

    given = 0

    def train_batches(self, *args: object, **options: object) -> object:
        for inputs, labels in super().train_batches(*args, **options):
            self.given += len(inputs)
            yield inputs, labels


def job() -> tuple[fl.ChannelGraph, Counted]:
    """A network that ends in a map, so that a picture gives each layer many equations, and pictures enough."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, stride=2), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(16, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    task = Counted(blobs(600), blobs(32, seed=1), classes=3)
    return fl.trace(model, task.example_input), task


def test_all_take_as_many_as_the_layers_need(tmp_path: Path):
    graph, task = job()
    count = 4 * (16 * 9 + 1) // 16 + 1  # four equations for an unknown, 16 places a picture
    assert enough_pictures(graph) == count
    scores = fl.score(graph, Reconstruction(task))
    assert count <= task.given < count + 128  # the last batch is not used up
    options = {"ratios": [0.5], "progress": False, "repair": True}
    curves = fl.sweep(graph, scores, task, path=tmp_path, **options)
    with pytest.raises(ValueError, match=f"repair: stored {count}, now 20"):
        fl.sweep(graph, scores, task, path=tmp_path, repair_samples=20, **options)
    asked = fl.sweep(graph, scores, task, repair_samples=count, **options)
    assert asked.frame.equals(curves.frame)
    plan = fl.allocate(graph, curves, macs=0.7, multiple=1)
    left, asked = (fl.additivity(graph, curves, plan, task, **each) for each in ({}, {"repair_samples": count}))
    assert left.equals(asked)


def test_of_fewer_that_are_there_nobody_warns():
    graph, _ = job()
    few = fl.tasks.Classification(blobs(12), blobs(32, seed=1), classes=3)
    scores = fl.score(graph, Reconstruction(few))  # warnings are errors
    fl.sweep(graph, scores, few, ratios=[0.5], repair=True, progress=False)
    options = {"repaired": True, "macs": 0.7, "seeds": 1, "progress": False}
    fl.compare_criteria(graph, ["fpgm", "l2"], task=few, **options)
    with pytest.warns(UserWarning, match="only 12 of the 40 examples"):
        fl.score(graph, Reconstruction(few, samples=40))


def test_moments_of_large_batches_are_read_in_parts(monkeypatch: pytest.MonkeyPatch):
    graph, _ = job()
    batches: list[Tensor] = list(torch.randn(60, 1, 8, 8).split(30))
    names = [layer.name for layer in graph.layers]
    whole = read_moments(graph, batches, names)
    sizes = []
    forward = nn.Sequential.forward
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    monkeypatch.setattr(pictures, "PASS", 8.5 * (2 * 16 * 8 * 8 * 4))  # of 8 pictures
    steps = []
    parts = read_moments(graph, batches, names, on_batch=lambda: steps.append(1))
    assert max(sizes) <= 8
    assert len(steps) == 2
    for name in names:
        gap = (parts[name].aa - whole[name].aa).abs().max()
        assert gap <= 1e-4 * whole[name].aa.abs().max()
        assert parts[name].count == whole[name].count == 60 * (64 if name == "0" else 16)

"""Made-up curves: what a sweep would have found, from numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.sensitivity.curves.intervals import Paired

SAMPLES = 1000


def curves_of(
    graph: fl.ChannelGraph, drops: Mapping[str, Mapping[int, float]], metric: str = "kl", **changed: object
) -> fl.Curves:
    """Return curves on which a group that keeps so many channels degrades the metric by so much."""
    base, sign = (0.9, -1) if metric in {"accuracy", "agreement"} else (0.0, 1)
    sums = {
        (name, kept, metric): Paired(SAMPLES, SAMPLES * (base + sign * drop), SAMPLES * base, SAMPLES * drop**2)
        for name, points in drops.items()
        for kept, drop in points.items()
    }
    whole = {metric: Paired(SAMPLES, SAMPLES * base, SAMPLES * base, 0.0)}
    generator = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(group.channels, generator=generator) for name, group in graph.items()}
    options = {"widths": {name: graph[name].channels for name in drops}, "changes": dict.fromkeys(drops, 1.0)}
    return fl.Curves(sums, whole, **{**options, "complete": True, "scores": scores, **changed})


def rising(graph: fl.ChannelGraph, seed: int, points: int = 9) -> dict[str, dict[int, float]]:
    """Return random drops that never fall, at ratios spread over (0, 1), for every prunable group."""
    rng = np.random.default_rng(seed)
    drops = {}
    for name, group in graph.items():
        if group.protected is None:
            kept = sorted({max(1, round(group.channels * (1 - r))) for r in np.arange(1, points + 1) / (points + 1)})
            kept = [k for k in kept if k < group.channels][::-1]
            steps = rng.exponential(size=len(kept)) * np.linspace(0.2, 2, len(kept)) ** rng.uniform(0, 3)
            drops[name] = dict(zip(kept, (rng.uniform(0.1, 2) * np.cumsum(steps)).tolist(), strict=True))
    return drops


def chain(*widths: int) -> fl.ChannelGraph:
    """Return the graph of convolutions one after another, on 6x6 pictures of one channel."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 3))
    return fl.trace(model.eval(), torch.randn(1, 1, 6, 6))


class Branches(nn.Module):
    """A residual sum, a concatenation and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 5, 3, padding=1)
        self.outer = nn.Conv2d(5, 6, 1)
        self.side = nn.Conv2d(6, 7, 3, padding=1)
        self.deep = nn.Conv2d(7, 7, 3, padding=1, groups=7)
        self.join = nn.Conv2d(13, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.outer(torch.relu(self.inner(x)))
        x = self.join(torch.cat([x, self.deep(self.side(x))], dim=1))
        return self.head(x.relu().mean(dim=(2, 3)))


def branches() -> fl.ChannelGraph:
    """Return the graph of `Branches`."""
    return fl.trace(Branches().eval(), torch.randn(1, 1, 6, 6))


def loss_of(graph: fl.ChannelGraph, curves: fl.Curves, plan: fl.Plan) -> float:
    return float(fl.allocation.predicted(graph, curves, plan)["predicted"].sum())

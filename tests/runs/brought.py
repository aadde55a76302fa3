"""A network and a task of somebody's own, for run files: ``builder = "tests.runs.brought:task"``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import fpgmlab as fl
from tests.conftest import blobs


class Small(nn.Module):
    """Two convolutions and a linear layer: no architecture of the library."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.head = nn.Linear(2 * width, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.norm(self.first(images)))))
        return self.head(maps.mean(dim=(2, 3)))


def network(width: int = 16) -> nn.Module:
    return Small(width)


def task(train: int = 240, val: int = 90, test: int = 60) -> fl.tasks.Classification:
    return fl.tasks.Classification(blobs(train), blobs(val, seed=1), classes=3, test=blobs(test, seed=2), name="blobs")


def no_task() -> int:
    return 3


def open_ended(**options: object) -> nn.Module:
    return Small(**options)

"""Small networks, tasks and extras that are learnt in a moment."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import fpgmlab as fl
from tests.conftest import blobs

QUIET = {"progress": False, "batch_size": 16}


def small_task(train: int = 64, augment: bool = True) -> fl.tasks.Classification:
    how = fl.tasks.shift_and_flip(1) if augment else None
    return fl.tasks.Classification(blobs(train), blobs(30, seed=1), classes=3, name="blobs", augment=how)


def small_network(norm: bool = False, dropout: float = 0.0) -> nn.Module:
    """Return a network of a few hundred weights, the same ones each time."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.Tanh(), nn.AvgPool2d(3)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(16, 3))


class Counted(fl.RunningExtra):
    """An extra with a parameter and a number of its own, both of which count."""

    def __init__(self) -> None:
        self.scale = nn.Parameter(torch.ones(()))
        self.steps = 0

    def parameters(self) -> list[nn.Parameter]:
        return [self.scale]

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1e-3 * (self.scale * outputs).square().mean() * (1 + self.steps % 3)

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        self.steps += 1

    def state_dict(self) -> dict:
        return {"scale": self.scale.detach().clone(), "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.scale.data.copy_(state["scale"])
        self.steps = state["steps"]


class Counts(fl.Extra):
    """The options of `Counted`."""

    def begin(self, model: nn.Module, task: fl.tasks.Task, epochs: int, steps: int) -> fl.RunningExtra:
        return Counted()

    def __repr__(self) -> str:
        return "Counts()"


class Own:
    """A task of one's own, whose batches come in order only; the last one is smaller."""

    metric_name, higher_is_better = "accuracy", True

    def __init__(self, train: int = 22) -> None:
        self._like = small_task(augment=False)
        self.train = [self._like.train[i] for i in range(train)]
        self.val, self.loss, self.metric = self._like.val, self._like.loss, self._like.metric
        self.val_batches = self._like.val_batches

    def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed)).tolist()
        for start in range(0, len(order), batch_size):
            some = [self.train[i] for i in order[start : start + batch_size]]
            yield {"input": torch.stack([x for x, _ in some])}, torch.stack([y for _, y in some])


def assert_near(state: dict, other: dict, tolerance: float) -> None:
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(
            tensor, other[name], atol=tolerance, rtol=tolerance, msg=lambda said, n=name: f"{n}: {said}"
        )

"""Recalibrated batch norms have the statistics of their inputs, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import fpgmlab as fl


def normed(**options: float) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, **options), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize("batches", [1, 3, 100])
def test_statistics_are_the_plain_average_over_batches(task: fl.tasks.Classification, batches: int):
    model = normed(momentum=0.3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fl.recalibrate(model, task, batches=batches, batch_size=50)
    given = [images for images, _ in task.train_batches(50, seed=0)][:batches]  # 4 batches, the last not whole
    with torch.no_grad():
        maps = [model[0](images).transpose(0, 1).flatten(1).double() for images in given]  # (channels, values)
    assert len(maps) == min(batches, 4)
    mean, variance = (torch.stack(x).mean(0) for x in ([m.mean(1) for m in maps], [m.var(1) for m in maps]))
    torch.testing.assert_close(model[1].running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model[1].running_var.double(), variance, rtol=1e-4, atol=1e-5)
    assert model[1].momentum == 0.3
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_modes_and_random_numbers_are_as_before(task: fl.tasks.Classification):
    model = nn.Sequential(nn.Dropout(0.5), *normed())
    model.eval()[2].train()
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    found = []
    for _ in range(2):
        fl.recalibrate(model, task, batches=2)
        found.append(model[2].running_var.clone())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*found)  # dropout drew the same


class Breaks(nn.Module):
    """Fails on its second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = normed(momentum=0.3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return self.inner(x)


def test_interrupted_it_leaves_the_model_as_it_was(task: fl.tasks.Classification):
    model = Breaks().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        fl.recalibrate(model, task, batch_size=32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.inner[1].momentum == 0.3
    assert not any(module.training for module in model.modules())


def test_without_batch_norms_nothing_happens(task: fl.tasks.Classification):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 3))
    before = model[2].weight.detach().clone()
    fl.recalibrate(model, task)
    assert torch.equal(model[2].weight, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batches": 0}, "batches must be a whole number of at least 1; got 0"),
        ({"batches": 2.0}, "batches must be a whole number of at least 1; got 2.0"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2; got 1"),
    ],
)
def test_bad_numbers_are_named(options: dict, words: str):
    data = TensorDataset(torch.zeros(4, 1, 8, 8), torch.zeros(4).long())
    with pytest.raises(ValueError, match=words):
        fl.recalibrate(normed(), fl.tasks.Classification(data, data, classes=3), **options)

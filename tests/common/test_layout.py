"""Models whose code minds how activations lie in memory train, are swept and repaired all the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.common import layout
from fpgmlab.common.batches import on_device
from fpgmlab.common.layout import bears_channels_last


class Viewing(nn.Module):
    """Flattens by a view, as the classic examples do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(x).relu())
        return self.fc(x.view(x.size(0), -1))


@pytest.fixture
def viewing(task: fl.tasks.Classification) -> nn.Module:
    model = Viewing()
    model(task.example_input)
    return model


def test_who_bears_it_is_found_by_trying(task: fl.tasks.Classification, tiny: nn.Module, viewing: nn.Module):
    inputs = next(task.train_batches(8))[0]
    assert bears_channels_last(tiny, inputs)
    assert not bears_channels_last(viewing, inputs)
    assert not bears_channels_last(nn.Linear(2, 2), torch.zeros(4, 2))


def test_the_classic_view_trains_whatever_the_layout_of_its_pictures(task: fl.tasks.Classification, viewing: nn.Module):
    shifted = fl.tasks.Classification(task.train, task.val, 3, augment=fl.tasks.shift_and_flip(1))
    for some in (task, shifted):
        fl.fit(viewing, some, progress=False)
    graph = fl.trace(viewing.eval(), task.example_input)
    scores = fl.score(graph)
    plain, cut = (fl.sweep(graph, scores, task, surgery=how, ratios=(0.5,), progress=False) for how in (False, True))
    assert plain.frame["value"].tolist() == pytest.approx(cut.frame["value"].tolist(), abs=1e-4)
    assert len(fl.additivity(graph, plain, fl.Plan.uniform(graph, scores, 0.5, multiple=1), task))
    small = fl.repair(graph, fl.Plan.uniform(graph, scores, 0.5, multiple=1), shifted, samples=64, progress=False)
    assert fl.evaluate(small, task)["accuracy"] > 0


def test_of_one_channel_the_strides_decide():
    x = torch.zeros(4, 5, 5, 1).permute(0, 3, 1, 2)
    assert x.is_contiguous()  # and yet a convolution takes it for channels last
    assert on_device(x, torch.device("cpu"), channels_last=False).stride() == (25, 25, 5, 1)
    assert on_device(x, torch.device("cpu")) is x


def strided(channels: int, size: int = 1, stride: int = 2) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 16, size, stride))


@pytest.mark.parametrize(
    ("block", "model", "expected"),
    [
        (8, strided(4), False),
        (8, strided(7), False),
        (8, strided(8), True),
        (8, strided(4, size=3), True),
        (8, strided(4, stride=1), True),
        (16, strided(4), True),
        (16, nn.Sequential(nn.Conv2d(3, 4, 3), Viewing()), False),
    ],
)
def test_where_gradients_are_not_sound_the_channels_are_not_last(block, model, expected, monkeypatch):
    monkeypatch.setattr(layout, "channel_block", lambda: block)
    assert layout.learns_channels_last(model, torch.randn(2, 3, 8, 8)) is expected

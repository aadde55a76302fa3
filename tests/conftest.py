"""Fixtures for all tests: seeds, the shipped data and network, and a check that no figure is left open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import fpgmlab as fl


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_figure_left() -> Iterator[None]:
    yield
    from matplotlib._pylab_helpers import Gcf

    assert not Gcf.figs, "a test (or the library) left pyplot figures open"


@pytest.fixture(scope="session")
def fashion() -> fl.tasks.Classification:
    return fl.tasks.fashion_mnist()


@pytest.fixture
def resnet() -> torch.nn.Module:
    return fl.models.load("resnet20-fashion")


@pytest.fixture
def graph(resnet: torch.nn.Module, fashion: fl.tasks.Classification) -> fl.ChannelGraph:
    return fl.trace(resnet, fashion.example_input)


def blobs(count: int, classes: int = 3, seed: int = 0) -> TensorDataset:
    """Return 8x8 pictures whose mean tells the class: learnt in a moment."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    images: Tensor = torch.randn(count, 1, 8, 8, generator=generator) * 0.5 + labels[:, None, None, None]
    return TensorDataset(images, labels)


@pytest.fixture
def task() -> fl.tasks.Classification:
    return fl.tasks.Classification(blobs(240), blobs(90, seed=1), classes=3, name="blobs")


@pytest.fixture
def tiny() -> torch.nn.Module:
    return fl.models.build("resnet20", classes=3, channels=1, width=0.25)

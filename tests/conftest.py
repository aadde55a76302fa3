"""Fixtures for all tests: seeds, the shipped data and network, and a check that no figure is left open."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import fpgmlab as fl

# What takes longest goes first, so that no worker is left with it at the end.
LONGEST = (
    "tests/browser", "tests/notebooks", "tests/figures", "tests/surgery/test_brought.py",
    "tests/surgery/test_torchvision.py",
)  # fmt: skip
# Tests that share no dear fixture: each goes to the next worker that is free.
APART = ("tests/surgery/test_brought.py", "tests/surgery/test_torchvision.py", "tests/notebooks/test_fresh.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out the slow tests that a slow machine has no time for, after FPGMLAB_TEST_UNTIL in seconds since 1970."""
    until = os.environ.get("FPGMLAB_TEST_UNTIL")
    if until and item.get_closest_marker("slow") and time.time() > float(until):
        pytest.skip("no time is left for slow tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Distribute by file, the browser's tests all to one worker, those of `APART` one by one; unless told otherwise."""
    if config.option.dist != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file.startswith("tests/browser"):
                return "tests/browser"  # one JupyterLab, one Chromium
            return nodeid if file in APART else file

    config.option.loadscopereorder = False  # the order above
    return Scheduling(config, log)


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


@pytest.fixture(scope="session")
def _loaded() -> torch.nn.Module:
    return fl.models.load("resnet20-fashion")


@pytest.fixture
def resnet(_loaded: torch.nn.Module) -> torch.nn.Module:
    """The shipped network, a test's own to change."""
    return copy.deepcopy(_loaded)


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

"""Loading ahead: the same batches for any number of workers, and nothing stays behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import fpgmlab as fl
from fpgmlab.tasks.loading import number_of_workers, reading
from tests.conftest import blobs

CPU = torch.device("cpu")


class Noisy(Dataset):
    """Draws from every generator there is, as other people's transforms do."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        drawn = [torch.rand(()).item(), np.random.rand(), random.random()]  # noqa: NPY002 - what others do
        return torch.tensor([float(index), *drawn]).reshape(1, 2, 2), index % 3


def mixed_up(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images that depend on the others of their batch."""
    return images + 0.1 * images[torch.randperm(len(images), generator=generator)]


class Boxes(Dataset):
    classes = ("thing",)

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        return image, torch.tensor([[5.0, 5.0, 30.0, 35.0 - index]]), torch.zeros(1, dtype=torch.int64)


def tasks() -> list[fl.tasks.Task]:
    return [
        fl.tasks.Classification(Noisy(), blobs(9), classes=3, augment=fl.tasks.shift_and_flip(1), name="shifted"),
        fl.tasks.Classification(Noisy(), blobs(9), classes=3, augment=mixed_up, name="mixed"),
        fl.tasks.Detection(Boxes(), Boxes(), size=64, augment=fl.tasks.BoxAugment(mosaic=0.5), name="boxes"),
    ]


def children() -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        pid, state, parent = int(text.split()[0]), *text.rpartition(")")[2].split()[:2]
        if int(parent) == os.getpid() and state != "Z":
            found.add(pid)
    return found


def held() -> tuple[int, set[int]]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), children()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    next(iter(DataLoader([1, 2], num_workers=1)))  # what torch opens once and keeps
    before = held()
    yield
    files, processes = held()
    assert files <= before[0]  # what others left may be let go of meanwhile
    assert processes <= before[1]


def assert_same(some: list, others: list) -> None:
    assert len(some) == len(others) > 1
    for (x, y), (other_x, other_y) in zip(some, others, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def test_batches_are_the_same_for_any_number_of_workers(task: fl.tasks.Task, nothing_left: None):
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    alone = list(task.train_batches(3, seed=5))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    torch.rand(7)  # and whatever the generators were
    for workers in (0, 1, 3):
        assert_same(alone, [(x.clone(), y.clone()) for x, y in task.train_batches(3, seed=5, workers=workers)])
    assert not torch.equal(alone[0][0], next(task.train_batches(3, seed=6))[0])


@pytest.mark.parametrize("augment", [None, fl.tasks.shift_and_flip(1), mixed_up])
def test_shares_make_up_the_batches(augment: object):
    task = fl.tasks.Classification(blobs(23), blobs(9), classes=3, augment=augment)
    shares = [task.shuffled(5, 1, share=(number, 3)) for number in range(3)]
    for number, (x, y) in enumerate(task.train_batches(5, seed=1)):
        for first, share in enumerate(shares):
            assert_same([share[number]] * 2, [(x[first::3], y[first::3])] * 2)


def test_a_share_of_a_detectors_pictures_is_as_in_the_whole():
    task = tasks()[-1]
    shares = [task.shuffled(5, 1, share=(number, 2)) for number in range(2)]
    for number, (images, targets) in enumerate(task.train_batches(5, seed=1)):
        for first, share in enumerate(shares):
            one, boxes = share[number]
            assert torch.equal(one, images[first::2])
            for found, wanted in zip(boxes, targets[first::2], strict=True):
                assert torch.equal(found[found[:, 0] >= 0], wanted[wanted[:, 0] >= 0])


def test_the_order_is_a_data_loaders(task: fl.tasks.Classification):
    loader = DataLoader(task.train, 32, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(4))
    assert_same(list(loader), list(task.train_batches(32, seed=4)))


def test_workers_stay_for_all_epochs(task: fl.tasks.Classification, nothing_left: None):
    with reading(task, 100, seeds=[4, 5, 6], workers=2) as epochs:
        seen = set()
        for seed, batches in zip([4, 5, 6], epochs, strict=True):
            assert_same([(x.clone(), y.clone()) for x, y in batches], list(task.train_batches(100, seed=seed)))
            seen |= {child.pid for child in multiprocessing.active_children()}
    assert len(seen) == 2


class Wrapped:
    """A task with batches of its own."""

    def __init__(self, task: fl.tasks.Classification) -> None:
        self._task = task

    def __getattr__(self, name: str) -> object:
        return getattr(self._task, name)

    def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._task.train_batches(batch_size, seed):
            yield -images, labels


def test_a_task_of_another_kind_is_read_ahead_in_its_own_order(task: fl.tasks.Classification, nothing_left: None):
    own = Wrapped(task)
    with reading(own, 32, seeds=[1, 2], workers=4) as epochs:
        found = [[(x.clone(), y.clone()) for x, y in batches] for batches in epochs]
    for seed, batches in zip([1, 2], found, strict=True):
        assert_same(batches, list(own.train_batches(32, seed)))


class Broken(Dataset):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == 13:
            raise IndexError("number 13 is damaged")
        return torch.zeros(1, 2, 2), 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_is_told_as_it_is(workers: int, nothing_left: None):
    task = fl.tasks.Classification(Broken(), blobs(9), classes=3)
    with pytest.raises(IndexError, match="number 13") as caught:
        list(task.train_batches(2, workers=workers))
    assert str(caught.value) == "number 13 is damaged"


@pytest.mark.parametrize("how", ["break", "error", "ctrl-c", "forgotten"])
def test_nothing_stays_behind(task: fl.tasks.Classification, nothing_left: None, how: str):
    batches = task.train_batches(8, workers=2)
    next(batches)
    if how in ("error", "ctrl-c"):
        kind = ValueError if how == "error" else KeyboardInterrupt
        with pytest.raises(kind):
            batches.throw(kind())
    elif how == "break":
        batches.close()
    del batches


def test_how_many_workers():
    assert number_of_workers(3, CPU) == 3
    assert number_of_workers("auto", CPU) in (0, 1)
    assert 1 <= number_of_workers("auto", torch.device("cuda")) <= 8
    for wrong in (-1, 1.5, True, "many", None):
        with pytest.raises(ValueError, match="workers must be a whole number >= 0 or 'auto'; got"):
            number_of_workers(wrong, CPU)

"""Data to train, to choose and to test with: parted once and for all, and the last read only when asked for."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import fpgmlab as fl
from fpgmlab.tasks import Classification, Detection
from fpgmlab.widgets import PlanEditor
from tests.conftest import blobs
from tests.tasks.detection.made import Squares
from tests.tasks.test_task import Net, Plain
from tests.widgets.gated import SECONDS

PACKAGE = Path(fl.__file__).parent


def numbered(count: int, first: int = 0) -> TensorDataset:
    """Return pictures that say which they are."""
    numbers = torch.arange(first, first + count)
    return TensorDataset(numbers.float()[:, None, None, None].expand(-1, 1, 8, 8), numbers % 3)


def numbers(data: Dataset) -> list[int]:
    return [int(data[i][0][0, 0, 0]) for i in range(len(data))]


@pytest.mark.parametrize(("n", "seed"), [(1, 0), (10, 0), (10, 7), (39, 1)])
def test_a_holdout_is_drawn_from_the_training_data_and_parts_them(n: int, seed: int):
    task = Classification(numbered(40), numbered(9, first=100), classes=3, stratified=False)
    parted = task.holdout(n, seed)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed)).numpy()
    assert numbers(parted.val) == np.sort(order[:n]).tolist()
    assert numbers(parted.train) == np.sort(order[n:]).tolist()
    assert sorted(numbers(parted.val) + numbers(parted.train)) == list(range(40))
    assert parted.test is task.val
    assert (len(task.train), len(task.val), task.test) == (40, 9, None)  # the one that was asked is as before
    assert [int(x[0, 0, 0]) for x, _ in zip(*next(parted.test_batches(100)), strict=True)] == list(range(100, 109))


def test_fashion_mnist_keeps_what_its_networks_were_not_trained_on(fashion: Classification):
    task = fl.tasks.fashion_mnist(holdout=5000)
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
    kept = np.setdiff1d(np.arange(60_000), order[:5000].numpy())
    assert task.val.indices == sorted(order[:5000].tolist())
    assert task.train.indices == kept.tolist()
    by_class = [torch.bincount(fashion.train.labels[data.indices], minlength=10) for data in (task.train, task.val)]
    assert sum(by_class).tolist() == [6000] * 10
    assert all(abs(count - 500) < 4 * (5000 * 0.1 * 0.9 * 55 / 60) ** 0.5 for count in by_class[1].tolist())
    assert torch.equal(task.test.images, fashion.val.images)
    assert fashion.holdout(5000).val.indices == task.val.indices
    assert fashion.holdout(5000, seed=1).val.indices != task.val.indices
    assert (task.name, task.classes) == (fashion.name, fashion.classes)
    assert task.augment is not None
    images, labels = next(task.val_batches(64))
    assert torch.equal(labels, fashion.train.labels[task.val.indices[:64]])
    torch.testing.assert_close(images[5], fashion.train[task.val.indices[5]][0], rtol=0, atol=0)


def test_each_split_is_measured_by_itself(tiny: nn.Module):
    task = Classification(blobs(60), blobs(50, seed=1), classes=3, test=blobs(70, seed=2))
    assert (
        fl.evaluate(tiny, task) == fl.evaluate(tiny, task, split="val") == fl.evaluate(tiny, replace(task, test=None))
    )
    found = fl.evaluate(tiny, task, split="test")
    assert found == fl.evaluate(tiny, Classification(task.train, task.test, classes=3))
    assert found["samples"] == 70
    assert fl.evaluate(tiny, task, split="test", max_samples=16, batch_size=5)["samples"] == 16


def test_a_detector_is_measured_on_its_test_pictures():
    task = Detection(Squares(8), Squares(3, seed=1), size=64, augment=None)
    parted = task.holdout(2)
    assert (len(parted.train), len(parted.val), len(parted.test)) == (6, 2, 3)
    for ours, before in zip(parted.test_batches(2), task.val_batches(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, before, strict=True))
    assert (parted.size, parted.head, parted.classes) == (64, task.head, ("red", "green"))
    assert len(parted.subset(train=3, test=1).test) == 1


def test_a_subset_is_drawn_of_each_split():
    task = Classification(numbered(40), numbered(20), classes=3, test=numbered(30))
    part = task.subset(train=4, val=5, test=6, seed=2)
    assert (len(part.train), len(part.val), len(part.test)) == (4, 5, 6)
    assert numbers(part.test) == numbers(task.subset(test=6, seed=2).test)
    assert len(task.subset(val=5).test) == 30


class Sealed(Dataset):
    """Test data that nobody may read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        raise AssertionError("the test data were read")


@pytest.fixture
def sealed() -> Classification:
    return Classification(blobs(512), blobs(48, seed=1), classes=3, test=Sealed(40))


def test_nothing_that_chooses_reads_the_test_data(sealed: Classification):
    torch.manual_seed(0)
    model = Net().eval()
    graph = fl.trace(model, sealed.example_input)
    scores = fl.score(graph, "fpgm")
    assert fl.score(graph, fl.criteria.Reconstruction(sealed, samples=32))
    for options in ({}, {"repair": True, "repair_samples": 32}):
        curves = fl.sweep(graph, scores, sealed, ratios=[0.5], batch_size=16, progress=False, **options)
        assert curves.complete
        plan = fl.Plan.uniform(graph, scores, 0.5, multiple=1)
        fl.additivity(graph, curves, plan, sealed, batch_size=16)
    small = fl.repair(graph, plan, sealed, samples=32)
    fl.recalibrate(small, sealed, batches=2, batch_size=16)
    history = fl.fit(small, sealed, epochs=2, batch_size=16, keep="best", extras=[fl.Distill(model)], progress=False)
    assert len(history) == 2
    fl.evaluate(small, sealed)
    with pytest.raises(AssertionError, match="the test data were read"):
        fl.evaluate(small, sealed, split="test")


def test_the_desk_reads_no_test_data(sealed: Classification):
    torch.manual_seed(0)
    graph = fl.trace(Net().eval(), sealed.example_input)
    scores = fl.score(graph, "fpgm")
    curves = fl.sweep(graph, scores, sealed, ratios=[0.5], batch_size=16, progress=False)
    editor = PlanEditor(graph, curves, sealed, plan=fl.Plan.uniform(graph, scores, 0.5, multiple=1), multiple=1)
    try:
        assert editor.wait(SECONDS)
        assert set(editor.measured["network"]) == {"as cut", "repaired"}
        for work in (editor.evaluate, editor.repair, partial(editor.fine_tune, 1)):
            work()
            assert editor.wait(SECONDS)
            assert editor.state == "finished", editor.work["message"]
    finally:
        editor.close()


def asks(node: ast.AST) -> bool:
    """Tell whether code asks for test data: ``.test``, ``.test_batches``, ``split="test"``."""
    if isinstance(node, ast.keyword):
        return node.arg == "split" and isinstance(node.value, ast.Constant) and node.value.value == "test"
    return isinstance(node, ast.Attribute) and node.attr in ("test", "test_batches")


def test_no_other_room_asks_for_test_data():
    asking = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(map(asks, ast.walk(ast.parse(path.read_text()))))
    }
    assert "tasks/splits.py" in asking
    assert {path for path in asking if not path.startswith("tasks/")} == set()


def test_a_task_may_have_no_test_data():
    task = Plain(lambda x: x)
    assert fl.evaluate(Net().eval(), task, split="val")["samples"] == 24
    with pytest.raises(ValueError, match=r"Plain has no test data: give it task\.test, or measure on .* split='val'"):
        fl.evaluate(Net(), task, split="test")
    task.test = blobs(8)
    with pytest.raises(ValueError, match=r"has test data \(task\.test\), but no test_batches\("):
        fl.evaluate(Net(), task, split="test")

    def batches(batch_size: int, max_samples: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        yield task.test.tensors

    task.test_batches = batches
    assert fl.evaluate(Net().eval(), task, split="test")["samples"] == 8


BAD: dict[str, tuple[Callable[[Classification], object], str]] = {
    "none": (lambda task: task.holdout(0), "examples to hold out must be a whole number of at least 1; got 0"),
    "negative": (lambda task: task.holdout(-3), "at least 1; got -3"),
    "not whole": (lambda task: task.holdout(2.5), r"a whole number of at least 1; got 2\.5"),
    "truth": (lambda task: task.holdout(True), "a whole number of at least 1; got True"),
    "all": (lambda task: task.holdout(20), "20 examples cannot be held out: blobs has 20 to train on, and at least"),
    "more": (lambda task: task.holdout(21), "21 examples cannot be held out: blobs has 20"),
    "twice": (lambda task: task.holdout(5).holdout(5), r"blobs has test data already \(10 examples\)"),
    "fashion": (lambda task: fl.tasks.fashion_mnist(holdout=0), "at least 1; got 0"),
    "no test": (
        lambda task: task.test_batches(),
        r"blobs has no test data: give it test=\.\.\., make it with holdout=",
    ),
    "no test to draw": (lambda task: task.subset(test=3), "blobs has no test data"),
    "too many drawn": (
        lambda task: task.holdout(5).subset(test=11),
        "test=11: must be 1 to 10, the examples that blobs",
    ),
    "empty": (lambda task: replace(task, test=[]), "test is empty: list of length 0"),
    "split": (lambda task: fl.evaluate(Net(), task, split="tset"), "split must be one of 'val', 'test'; not 'tset'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_parted_is_refused(case: str):
    call, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        call(Classification(blobs(20), blobs(10), classes=3, name="blobs"))


def test_test_data_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="test must be a map-style data set"):
        Classification(blobs(20), blobs(10), classes=3, test=iter([]))
    other = Squares(2)
    other.classes = ("red", "blue")
    with pytest.raises(ValueError, match="the classes of test must be 'red', 'green'; it has 'red', 'blue'"):
        Detection(Squares(4), Squares(2), size=64, test=other)

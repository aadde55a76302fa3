"""Tasks: data in, batches, loss and metric out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, TensorDataset

import fpgmlab as fl
from fpgmlab.tasks import shift_and_flip
from tests.conftest import blobs


def test_batches_cover_the_data_once(task: fl.tasks.Classification):
    assert sum(len(labels) for _, labels in task.val_batches(32)) == 90
    assert sum(len(labels) for _, labels in task.val_batches(32, max_samples=40)) == 40
    assert sum(len(labels) for _, labels in task.train_batches(32)) == 224  # the last, smaller batch is left out
    assert sum(len(labels) for _, labels in task.train_batches(500)) == 240


def test_training_order_follows_the_seed(fashion: fl.tasks.Classification):
    task = fashion.subset(train=300)
    (a, la), (b, lb), (c, _) = (next(task.train_batches(128, seed=s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert torch.equal(la, lb)
    assert not torch.equal(a, c)


def test_a_subset_is_drawn_without_replacement(fashion: fl.tasks.Classification):
    part = fashion.subset(train=1000, val=500, seed=1)
    assert len(part.train) == len(set(part.train.indices)) == 1000
    assert len(part.val) == 500
    assert part.classes == fashion.classes
    assert part.subset(val=100).val[0][0].shape == (1, 28, 28)
    assert fashion.subset(train=1000, seed=1).train.indices == part.train.indices
    with pytest.raises(ValueError, match="val=0: must be 1 to 10000"):
        fashion.subset(val=0)


def test_loss_and_metric_are_the_textbook_ones(task: fl.tasks.Classification):
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    targets = torch.tensor([0, 1])
    by_hand = -(torch.log_softmax(logits, 1)[[0, 1], [0, 1]]).mean()
    torch.testing.assert_close(task.loss(logits, targets), by_hand)
    assert task.loss(logits, targets, reduction="none").shape == (2,)
    metric = task.metric()
    metric.update(logits, targets)
    assert float(metric.compute()) == 0.5


def test_evaluate_counts_and_keeps_the_mode(task: fl.tasks.Classification, tiny: torch.nn.Module):
    tiny.train()
    tiny.layer1.eval()
    result = fl.evaluate(tiny, task, batch_size=40)
    tiny.eval()
    with torch.no_grad():
        logits = torch.cat([tiny(images) for images, _ in task.val_batches(90)])
    labels = torch.cat([labels for _, labels in task.val_batches(90)])
    assert result["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert result["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert result["samples"] == 90


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda images, network: images[7].fill_(torch.nan), "nan in the batch that begins with example 4: the inputs"),
        (
            lambda images, network: network.fc.bias.data.fill_(torch.nan),
            "nan in the batch that begins with example 0: the network's outputs hold NaN or infinity",
        ),
    ],
)
def test_a_loss_that_is_no_number_is_told(tiny: torch.nn.Module, spoil: Callable, said: str):
    images = torch.rand(12, 1, 8, 8)
    spoil(images, tiny)
    data = torch.utils.data.TensorDataset(images, torch.zeros(12, dtype=torch.long))
    task = fl.tasks.Classification(data, data, classes=("a", "b", "c"))
    with pytest.warns(UserWarning, match=f"the loss is {said}") as told:
        found = fl.evaluate(tiny, task, batch_size=4)
    assert math.isnan(found["loss"])
    assert [Path(one.filename).name for one in told] == ["test_classification.py"]


def test_evaluate_leaves_each_module_in_its_mode(task: fl.tasks.Classification, tiny: torch.nn.Module):
    tiny.train()
    tiny.layer1.eval()
    fl.evaluate(tiny, task)
    assert tiny.training
    assert not tiny.layer1.training


def test_shifting_moves_and_mirrors_whole_pictures():
    images = torch.arange(2 * 49.0).reshape(2, 1, 7, 7).repeat(50, 1, 1, 1)
    moved = shift_and_flip(pixels=1)(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    inner = moved[:, 0, 2:5, 2:5]
    for picture, original in zip(inner, images[:, 0], strict=True):
        candidates = [
            turned[top : top + 3, left : left + 3]
            for turned in (original, original.flip(1))
            for top in (1, 2, 3)
            for left in (1, 2, 3)
        ]
        assert any(torch.equal(picture, candidate) for candidate in candidates)


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 8, 8), 0


def test_bad_data_sets_are_named():
    good = blobs(10)
    empty = TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="val is empty"):
        fl.tasks.Classification(good, empty, 3)
    with pytest.raises(TypeError, match="train must be a map-style data set"):
        fl.tasks.Classification(Stream(), good, 3)
    with pytest.raises(ValueError, match="classes must be their number or names"):
        fl.tasks.Classification(good, good)
    with pytest.raises(ValueError, match="at least 2 classes; got 1"):
        fl.tasks.Classification(good, good, 1)
    with pytest.raises(TypeError, match=r"float tensors \(channels, height, width\)"):
        _ = fl.tasks.Classification(good, TensorDataset(torch.zeros(4, 8), torch.zeros(4).long()), 3).example_input


IMAGES, LABELS = torch.zeros(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("arrays", [(IMAGES, LABELS), [IMAGES.numpy(), LABELS.numpy()]])
def test_images_and_labels_are_no_data_set_yet(arrays: object):
    with pytest.raises(TypeError, match=r"two arrays with 6 rows each.* torch\.utils\.data\.TensorDataset\(images, "):
        fl.tasks.Classification(arrays, arrays, 3)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ([(Image.new("L", (8, 8)), 0)] * 4, TypeError, r"float tensors .*an example gave Image\. Add .*ToImage\(\)"),
        (TensorDataset(IMAGES.to(torch.uint8), LABELS), TypeError, r"an example gave torch\.uint8 \(1, 8, 8\)"),
        ([(IMAGES[0], 0), (IMAGES[0, :, 1:], 1)] * 2, ValueError, r"one size; got \(1, [78], 8\) and \(1, [78], 8\)\."),
        (TensorDataset(IMAGES, LABELS.float()), TypeError, r"must be one integer \(torch.int64\); got torch.float32\."),
        (TensorDataset(IMAGES, torch.eye(3)[LABELS]), TypeError, r"got torch.float32 \(3,\)\. .* label\.argmax\(\)"),
        ([(IMAGES[0], "cat")] * 4, TypeError, "got str. Give the number of its class"),
        (TensorDataset(IMAGES), TypeError, r"must be a pair \(image, label\); got 1 thing"),
    ],
)
def test_examples_that_make_no_batch_are_told(data: object, error: type[Exception], said: str, tiny: torch.nn.Module):
    task = fl.tasks.Classification(data, data, 3)
    with pytest.raises(error, match=said):
        fl.evaluate(tiny, task)
    with pytest.raises(error, match=said):
        fl.fit(tiny, task, batch_size=4, progress=False)
    with pytest.raises(error, match=said):
        next(task.train_batches(4))


def test_a_task_tells_its_examples_and_their_classes(task: fl.tasks.Classification):
    held = task.holdout(40)
    assert repr(held) == (
        "Classification 'blobs': 200 examples to train on, 40 to validate, 90 to test with; 3 classes (0, 1, 2)"
    )
    counts = held.counts()
    assert counts["test"].tolist() == torch.bincount(task.val.tensors[1]).tolist()
    assert (counts["train"] + counts["val"]).tolist() == torch.bincount(task.train.tensors[1]).tolist()
    pairs = [(torch.zeros(1, 8, 8), label) for label in (0, 2, 2)]  # a data set that does not tell its labels
    assert fl.tasks.Classification(pairs, pairs, 3).counts()["train"].tolist() == [1, 0, 2]


@pytest.mark.parametrize(("label", "said"), [(3, "label 3 is out of range"), (-1, "label -1 is out of range")])
def test_a_label_out_of_range_is_named(label: int, said: str, tiny: torch.nn.Module):
    data = TensorDataset(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, label]))
    task = fl.tasks.Classification(data, data, 3)
    with pytest.raises(ValueError, match=f"{said}; with 3 classes labels must be 0 to 2"):
        fl.evaluate(tiny, task)
    with pytest.raises(ValueError, match=said):
        fl.fit(tiny, task, progress=False)


def test_a_model_with_other_outputs_is_named(task: fl.tasks.Classification):
    model = fl.models.build("resnet20", classes=5, channels=1, width=0.25)
    with pytest.raises(ValueError, match=r"logits \(batch, 3\); got \(90, 5\)"):
        fl.evaluate(model, task)

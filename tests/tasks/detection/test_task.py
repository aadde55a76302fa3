"""The detection task: batches, augmentation, training, and sweeps that need no labels."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import fpgmlab as fl
from fpgmlab.models.boxes import Decoded, corners
from fpgmlab.models.yolov5.loss import yolov5_loss
from fpgmlab.tasks import BoxAugment, Detection, YOLOv5Head
from fpgmlab.tasks.detection.augment import fitted
from tests.tasks.detection.made import ANCHORS, HEAD_OPTIONS, Squares, TinyDetector, sure


@pytest.fixture
def model() -> TinyDetector:
    return TinyDetector().eval()


@pytest.fixture
def task() -> Detection:
    return Detection(Squares(), Squares(6, seed=1), size=64, head=YOLOv5Head(ANCHORS, (4, 8), options=HEAD_OPTIONS))


@pytest.fixture
def plain(task: Detection) -> Detection:
    return Detection(task.train, task.val, size=64, head=task.head, augment=None)


def test_validation_is_letterboxed_in_order(task: Detection):
    (images, targets), (rest, _) = task.val_batches(4)
    assert (images.shape, rest.shape, targets.shape) == ((4, 3, 64, 64), (2, 3, 64, 64), (4, 1, 5))
    image, boxes, labels = task.val[1]  # 64 x 48
    torch.testing.assert_close(images[1, :, 8:56], image / 255)
    torch.testing.assert_close(images[1, :, :8], torch.full((3, 8, 64), 114 / 255))
    assert targets[1, 0].tolist() == [float(labels[0]), *(boxes[0] + torch.tensor([0, 8, 0, 8])).tolist()]
    assert [len(images) for images, _ in task.val_batches(4, max_samples=5)] == [4, 1]
    assert task.example_input.shape == (1, 3, 64, 64)


def test_pictures_without_boxes_are_filled_up():
    class Some(Squares):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
            image, boxes, labels = self.items[index]
            return image, boxes.repeat(index, 1), labels.repeat(index)

    task = Detection(Some(), Some(), size=64, augment=None)
    (_, targets), *_ = task.val_batches(4)
    assert (targets[..., 0] >= 0).sum(1).tolist() == [0, 1, 2, 3]
    (_, none), *_ = task.val_batches(1)
    assert none.shape == (1, 0, 5)
    maps = tuple(torch.randn(1, 21, 64 // s, 64 // s) for s in (8, 16, 32))
    assert torch.isfinite(task.loss(maps, none))
    metric = task.metric()
    metric.update(maps, none)
    assert float(metric.compute()) == 0.0


def test_training_order_and_augmentation_follow_the_seed(task: Detection):
    (a, ta), (b, tb), (c, _) = (next(task.train_batches(4, seed=s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert torch.equal(ta, tb)
    assert not torch.equal(a, c)
    assert [len(images) for images, _ in task.train_batches(3)] == [3]
    assert [len(images) for images, _ in task.train_batches(9)] == [4]
    assert float(a.min()) >= 0
    assert float(a.max()) <= 1


@pytest.mark.parametrize("seed", range(30))
def test_augmented_boxes_lie_around_what_they_mark(seed: int):
    augment = BoxAugment(flip_vertical=0.5, scale=0.4, shift=0.3, colour=0, mosaic=0.5)
    squares = Squares(8)
    generator = torch.Generator().manual_seed(seed)
    image, boxes, labels = augment(squares[seed % 8], 96, generator, lambda: squares[(seed + 1) % 8])
    assert image.shape == (3, 96, 96)
    marked = torch.zeros(96, 96, dtype=torch.bool)
    for (left, top, right, bottom), label in zip(boxes.tolist(), labels.tolist(), strict=True):
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 96
        inside = image[:, round(top) + 1 : round(bottom) - 1, round(left) + 1 : round(right) - 1]
        assert bool((inside[label] > 200).all())
        assert bool((inside[1 - label] < 60).all())
        marked[
            int(top) - 1 if top > 1 else 0 : round(bottom) + 2, int(left) - 1 if left > 1 else 0 : round(right) + 2
        ] = True
    bright = (image.amax(0) > 200) & ~marked
    assert int(bright.sum()) < 0.25 * 96**2 * 0.4  # only what is left of dropped boxes


def test_without_any_change_the_augmentation_is_the_letterbox():
    still = BoxAugment(flip=0, scale=0, shift=0, colour=0)
    for item in Squares():
        for ours, theirs in zip(still(item, 64, torch.Generator()), fitted(item, 64), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_flips_mirror_picture_and_boxes():
    (image, boxes, _), (turned, moved, _) = (
        BoxAugment(flip=flip, flip_vertical=flip, scale=0, shift=0, colour=0)(Squares()[0], 64, torch.Generator())
        for flip in (0.0, 1.0)
    )
    assert torch.equal(turned, image.flip(1, 2))
    assert torch.equal(moved, 64 - boxes[:, [2, 3, 0, 1]])


def test_loss_is_the_models_own_with_normalised_targets(task: Detection, model: TinyDetector):
    images, targets = next(task.val_batches(6))
    maps = model(images)
    left, top, right, bottom = (targets[:, 0, 1:] / 64).unbind(1)
    rows = torch.stack([torch.arange(6.0), targets[:, 0, 0], (left + right) / 2, (top + bottom) / 2, right - left,
                        bottom - top], dim=1)  # fmt: skip
    expected = yolov5_loss(maps, rows, torch.tensor(ANCHORS), (4, 8), HEAD_OPTIONS).total
    torch.testing.assert_close(task.loss(maps, targets), expected)
    each = task.loss(maps, targets, reduction="none")
    alone = task.loss(tuple(m[2:3] for m in maps), targets[2:3])
    assert each.shape == (6,)
    torch.testing.assert_close(each[2], alone)


def test_a_perfect_detector_has_a_precision_of_one(task: Detection):
    """Raw maps whose decoded boxes are the targets."""
    _, targets = next(task.val_batches(6))
    maps = tuple(torch.full((6, 2, 7, 64 // s, 64 // s), -12.0) for s in (4, 8))
    for i, (label, *box) in enumerate(targets[:, 0].tolist()):
        x, y, w, h = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1])
        row, column = int(y // 4), int(x // 4)
        shares = [(x / 4 - column + 0.5) / 2, (y / 4 - row + 0.5) / 2, (w / 20) ** 0.5 / 2, (h / 20) ** 0.5 / 2]
        maps[0][i, 1, :4, row, column] = torch.tensor(shares).logit()
        maps[0][i, 1, 4, row, column] = maps[0][i, 1, 5 + int(label), row, column] = 8.0
    metric = task.metric()
    metric.update(tuple(m.flatten(1, 2) for m in maps), targets)
    assert float(metric.compute()) == pytest.approx(1.0)
    whole = task.metrics["map"]()
    whole.update(tuple(m.flatten(1, 2) for m in maps), targets)
    assert float(whole.compute()) == pytest.approx(1.0)
    assert corners(torch.tensor([2.0, 2, 2, 2])).tolist() == [1, 1, 3, 3]


def test_fit_lowers_the_loss_and_evaluate_reports(plain: Detection, model: TinyDetector):
    task = Detection(plain.train, plain.train, size=64, head=plain.head, augment=None)
    before = fl.evaluate(model, task)
    assert set(before) == {"loss", "map50", "samples"}
    assert before["samples"] == 4
    history = fl.fit(model, task, epochs=1, lr=0.02, batch_size=2, progress=False, keep="last")
    assert history["loss"].iloc[-1] < before["loss"] - 0.05
    history = fl.fit(model, task, epochs=60, lr=0.01, optimizer="adamw", batch_size=2, progress=False, keep="last")
    assert history["loss"].iloc[-1] < 0.2 * before["loss"]
    assert history["map50"].iloc[-1] > max(0.6, before["map50"])


@torch.no_grad()
def test_a_sweep_needs_no_labels_and_is_what_surgery_gives(task: Detection, model: TinyDetector):
    sure(model)
    graph = fl.trace(model, task.example_input)
    scores = fl.score(graph, "l2")
    curves = fl.sweep(graph, scores, task, ratios=[0.5], batch_size=2, progress=False)
    assert set(curves.whole) == {"agreement_map50", "change"}
    assert curves.whole["agreement_map50"].mean == pytest.approx(1.0)
    assert curves.whole["change"].mean == 0
    assert {metric for _, _, metric in curves.sums} == {"agreement_map50", "change"}
    groups = {name for name, _, _ in curves.sums}
    assert len(groups) == 3
    losses = []
    for name in groups:
        plan = fl.Plan.from_ratios(graph, scores, {name: 0.5})
        pruned = fl.prune(graph, plan)
        agreement, changes = task.metrics["agreement_map50"](), []
        for images, _ in task.val_batches(2):
            ours, before = pruned(images), model(images)
            agreement.update(ours, before)
            apart = [(a - b).square().flatten(1) for a, b in zip(ours, before, strict=True)]
            changes.append(torch.cat(apart, dim=1).mean(1))
        key = (name, plan.kept[name])
        assert curves.sums[*key, "agreement_map50"].mean == pytest.approx(float(agreement.compute()), abs=1e-3)
        assert curves.sums[*key, "change"].mean == pytest.approx(float(torch.cat(changes).mean()), rel=1e-4)
        losses.append(1 - float(agreement.compute()))
    assert min(losses) > 0.01
    assert max(losses) < 1


@torch.no_grad()
def test_precision_is_known_for_a_fraction(task: Detection, model: TinyDetector, tmp_path: Path):
    sure(model)
    graph = fl.trace(model, task.example_input)
    curves = fl.sweep(graph, fl.score(graph, "l2"), task, ratios=[0.9], batch_size=2, progress=False)
    curves.save(tmp_path / "curves.parquet")
    for each in (curves, fl.Curves.load(tmp_path / "curves.parquet")):
        assert each.frame.attrs["share"] == {"agreement_map50": True, "change": False}


def test_a_task_can_be_sent_and_subsets_keep_what_it_is(task: Detection):
    part = pickle.loads(pickle.dumps(task)).subset(train=2, val=3, seed=1)
    assert (len(part.train), len(part.val)) == (2, 3)
    assert (part.classes, part.size, part.head) == (task.classes, 64, task.head)
    assert set(part.metrics) == {"map50", "map", "agreement_map50", "agreement_map"}
    with pytest.raises(ValueError, match="val=7: must be 1 to 6"):
        task.subset(val=7)


def test_as_many_classes_as_the_data_has_names_are_those(task: Detection):
    train, val = (copy.copy(each) for each in (task.train, task.val))
    train.classes = val.classes = ("red", "green")
    counted = replace(Detection(train, val, classes=2, size=64, head=task.head), augment=None)
    assert counted.classes == counted.subset(train=2).classes == ("red", "green")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10, 17, 63, 64, 200])
def test_few_pictures_make_four_batches(task: Detection, count: int):
    few = replace(task, val=[task.val[0]] * count, classes=2, metrics={})
    batches = [len(x) for x, _ in few.val_batches(few.eval_batch_size)]
    assert sum(batches) == count
    assert len(batches) >= min(4, count)
    assert max(batches) <= 16
    assert len(batches) <= max(7, -(-count // 16))  # and no more than it takes


def test_ten_pictures_have_intervals(task: Detection, model: TinyDetector):
    sure(model)
    ten = Detection(task.train, Squares(10, seed=2), size=64, head=task.head)
    graph = fl.trace(model, ten.example_input)
    scores = fl.score(graph, "l2")
    frame = fl.sweep(graph, scores, ten, ratios=[0.5], progress=False).frame.query("ratio > 0")
    assert bool(np.isfinite(frame[["low", "high"]]).all(axis=None))
    curves = fl.sweep(graph, scores, ten, ratios=[0.5], batch_size=5, progress=False)
    with pytest.warns(UserWarning, match="none of the 3 .* a finite interval, .* three batches.* smaller batch_size="):
        fl.allocate(graph, curves, macs=0.9, multiple=1)


@pytest.mark.parametrize("names", [("red", "green"), ("thing",)])
def test_decoded_boxes_are_judged_as_the_maps_that_they_are_made_of(names: tuple[str, ...]):
    torch.manual_seed(0)
    model = fl.models.yolov5("n", classes=names, width=0.5)
    with torch.no_grad():
        for level in model.model[-1].m:  # sure enough of something to be right or wrong
            level.bias.add_(4)
    items = [(image, boxes, labels % len(names)) for image, boxes, labels in Squares(6).items]
    task = Detection(items, items, classes=names, size=64, augment=None, head=YOLOv5Head.of(model))
    maps, boxes = fl.evaluate(model, task), fl.evaluate(Decoded(model), task)
    assert boxes == pytest.approx(maps, rel=1e-4)
    (x, targets), *_ = task.val_batches(6)
    with torch.no_grad():
        found = task.head.detections(Decoded(model.eval())(x), 0.1)
        wanted = task.head.detections(model(x), 0.1)
    assert sum(len(one["boxes"]) for one in wanted) > 10
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
    each = task.loss(Decoded(model)(x), targets, reduction="none")
    torch.testing.assert_close(each, task.loss(model(x), targets, reduction="none"), rtol=1e-3, atol=1e-3)


def test_a_sweep_with_another_head_is_another_sweep(task: Detection, model: TinyDetector, tmp_path: Path):
    sure(model)
    graph = fl.trace(model, task.example_input)
    options = {"ratios": [0.5], "metrics": "change", "max_samples": 1, "path": tmp_path, "progress": False}
    fl.sweep(graph, fl.score(graph, "l2"), task, **options)
    other = replace(task, head=replace(task.head, iou=0.3))
    with pytest.raises(ValueError, match=r"head: stored 'YOLOv5Head\(.*iou=0.6.*', now '.*iou=0.3"):
        fl.sweep(graph, fl.score(graph, "l2"), other, **options)

"""What a detection task refuses, or takes though it is odd: data sets, options, networks for other classes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.models.boxes import decode
from fpgmlab.tasks import BoxAugment, Detection, YOLOv5Head
from fpgmlab.tasks.detection.networks import check_classes, classes_of
from tests.tasks.detection.made import ANCHORS, HEAD_OPTIONS, Squares, TinyDetector


@pytest.fixture
def task() -> Detection:
    return Detection(Squares(), Squares(6, seed=1), size=64, head=YOLOv5Head(ANCHORS, (4, 8), options=HEAD_OPTIONS))


def test_bad_options_are_named(task: Detection):
    data = Squares()
    for size, near in ((100, "96 or 128"), (650, "640 or 672"), (20, "32")):
        with pytest.raises(ValueError, match=f"multiple of 32, the head's stride; got {size}. The nearest: {near}$"):
            Detection(data, data, size=size)
    for wrong in ("64", (640, 480), 640.0, 0):
        with pytest.raises(ValueError, match="size must be one whole number, the side of the square inputs"):
            Detection(data, data, size=wrong)
    with pytest.raises(
        TypeError, match=r"head must be .*; got the network \(TinyDetector\)\. .* head=fl\.tasks\.YOLOv5Head\.of"
    ):
        Detection(data, data, size=64, head=TinyDetector())
    with pytest.raises(TypeError, match=r"got the class YOLOv5Head: YOLOv5Head\.of\(model\) makes it for a network"):
        Detection(data, data, size=64, head=YOLOv5Head)
    with pytest.raises(TypeError, match=r"head must be .*; got 'yolov5'"):
        Detection(data, data, size=64, head="yolov5")
    for path in ("images/train", Path("images/train")):
        with pytest.raises(
            TypeError, match=r"val must be a data set .*; got the path 'images/train'\. .*fl\.tasks\.yolo_boxes"
        ):
            Detection(data, path, size=64)
    with pytest.raises(ValueError, match=r"the classes of train must be 'a', 'b'; it has 'red', 'green'"):
        Detection(data, data, classes=["a", "b"], size=64)
    with pytest.raises(TypeError, match="train must be a map-style data set"):
        Detection(iter([]), data, size=64)
    with pytest.raises(ValueError, match="at least 1 class; got 0"):
        Detection([data[0]], [data[0]], classes=[], size=64)
    with pytest.raises(ValueError, match="picture 1: label 1 is out of range; with 1 classes"):
        next(Detection(list(data), list(data), classes=1, size=64).val_batches(4))
    for bad in ({"flip": 1.5}, {"scale": 1}, {"colour": -0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be from 0 to 1"):
            BoxAugment(**bad)
    for bad in ({"flip": "often"}, {"shift": float("nan")}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be from 0 to 1; got"):
            BoxAugment(**bad)
    graph_error = "These need no labels: .*'agreement_map50', 'agreement_map'"
    model = TinyDetector().eval()
    graph = fl.trace(model, task.example_input)
    with pytest.raises(ValueError, match=graph_error):
        fl.sweep(graph, fl.score(graph, "l2"), task, metrics="accuracy", progress=False)


IMAGE, BOX, LABEL = Squares()[0]


@pytest.mark.parametrize(
    ("item", "error", "said"),
    [
        (IMAGE, TypeError, "must be three tensors: image, boxes, labels; got Tensor"),
        ((IMAGE, {"boxes": BOX}), TypeError, r"must be three tensors: .*; got \['Tensor', 'dict'\]"),
        ((IMAGE.numpy(), BOX, LABEL), TypeError, r"got \['ndarray', 'Tensor', 'Tensor'\]"),
        ((IMAGE.float(), BOX, LABEL), TypeError, r"must be uint8 \(3, height, width\), RGB; got torch.float32"),
        ((IMAGE[:1], BOX, LABEL), TypeError, r"must be uint8 \(3, height, width\), RGB; got torch.uint8 \(1, 64, 64\)"),
        ((IMAGE, BOX[:0], LABEL), ValueError, r"boxes must be \(1, 4\), one for each label; got \(0, 4\)"),
        ((IMAGE, BOX, LABEL[:, None]), TypeError, r"labels must be int64 \(count,\); got torch.int64 \(1, 1\)"),
        ((IMAGE, BOX, LABEL.float()), TypeError, r"labels must be int64 \(count,\); got torch.float32"),
        ((IMAGE, BOX[:, [0, 1, 0, 3]], LABEL), ValueError, "a box without width or height, or of no numbers"),
        ((IMAGE, BOX * torch.nan, LABEL), ValueError, "a box without width or height, or of no numbers"),
        ((IMAGE, BOX + torch.tensor([0, 0, torch.inf, 0]), LABEL), ValueError, "a box .* of no numbers"),
        ((IMAGE, BOX, LABEL - 1), ValueError, "label -1 is out of range; with 2 classes labels must be 0 to 1"),
        ((IMAGE, BOX, LABEL + 2), ValueError, "label 2 is out of range"),
        ((IMAGE, BOX, LABEL - 4), ValueError, "label -4 is out of range"),
    ],
)
def test_bad_items_of_a_data_set_are_named(item: object, error: type, said: str):
    task = Detection([item], [item], classes=2, size=64, name="mine")
    for batches in (task.val_batches, task.train_batches):
        with pytest.raises(error, match=f"mine: picture 0.*{said}"):
            next(batches(1))


def test_counts_that_are_none_are_named(task: Detection):
    with pytest.raises(ValueError, match="batch_size must be > 0; got 0"):
        next(task.train_batches(0))
    with pytest.raises(ValueError, match="max_samples must be > 0; got 0"):
        fl.evaluate(TinyDetector(), task, max_samples=0)


class Few(Squares):
    """So many pictures, with each box so many times."""

    def __init__(self, count: int, repeated: int) -> None:
        super().__init__(count)
        self.items = [(image, b.repeat(repeated, 1), labels.repeat(repeated)) for image, b, labels in self.items]


@pytest.mark.parametrize(("count", "repeated"), [(1, 0), (5, 0), (1, 1), (3, 1), (1, 500)])
def test_odd_sets_are_trained_on(task: Detection, count: int, repeated: int):
    data = Few(count, repeated)
    odd = Detection(data, data, size=64, head=task.head, augment=BoxAugment(mosaic=1, scale=0.99, shift=1, colour=1))
    crowded = pytest.warns(UserWarning, match="Pass detections=500") if repeated > 100 else contextlib.nullcontext()
    with crowded:
        history = fl.fit(TinyDetector(), odd, epochs=1, batch_size=4, lr=0.01, progress=False)
    assert bool(torch.isfinite(torch.tensor(history["train_loss"].tolist())).all())
    assert fl.evaluate(TinyDetector(), odd)["samples"] == count


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
def test_slim_pictures_are_augmented(shape: tuple[int, int]):
    item = (torch.zeros(3, *shape, dtype=torch.uint8), torch.tensor([[0, 0, *shape[::-1]]]), torch.tensor([0]))
    task = Detection([item] * 4, [item], classes=1, size=64, augment=BoxAugment(mosaic=0.5, scale=0.99, shift=1))
    for seed in range(10):
        images, targets = next(task.train_batches(4, seed))
        assert images.shape == (4, 3, 64, 64)
        there = targets[targets[..., 0] >= 0][:, 1:]
        assert bool(((there >= 0) & (there <= 64)).all())


def test_crowds_are_background_to_the_loss(task: Detection):
    image, box, label = IMAGE, torch.cat([BOX, BOX + 1]), torch.cat([LABEL, -2 - LABEL])
    with_crowd, without = (
        Detection([item], [item], classes=2, size=64, head=task.head, augment=None)
        for item in ((image, box, label), (image, BOX, LABEL))
    )
    model = TinyDetector().eval()
    (x, targets), (_, single) = (next(each.train_batches(1)) for each in (with_crowd, without))
    assert targets[0, :, 0].tolist() == label.tolist()
    assert torch.equal(with_crowd.loss(model(x), targets), without.loss(model(x), single))


def maps(classes: int, sizes: tuple[int, ...] = (16, 8)) -> tuple[Tensor, ...]:
    return tuple(torch.randn(1, 2 * (5 + classes), size, size) for size in sizes)


@pytest.mark.parametrize("count", [1, 3, 80])
def test_a_network_for_other_classes_is_told_so(task: Detection, count: int):
    _, targets = next(task.val_batches(1))
    said = rf"the network has {count} class(es)?, the task 2: load it .* classes=\['red', 'green'\]"
    with pytest.raises(ValueError, match=said):
        task.loss(maps(count), targets)
    with pytest.raises(ValueError, match=said):
        task.metric().update(maps(count), targets)
    # Two networks for the same classes agree or not, whatever the task's are.
    agreement = task.metrics["agreement_map50"]()
    found = maps(count)
    agreement.update(found, found)
    detected = task.head.detections(found, 0.25)
    assert float(agreement.compute()) == (pytest.approx(1.0) if len(detected[0]["boxes"]) else 0.0)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (torch.zeros(2, 10), r"the network gives torch.Size\(\[2, 10\]\); expected for each of 2 levels a raw map"),
        (maps(2)[:1], r"gives \[\(1, 14, 16, 16\)\]; expected for each of 2 levels"),
        (tuple(m[:, :13] for m in maps(2)), r"expected .* \(batch, 2 \* \(5 \+ classes\), rows, columns\)"),
        ({"boxes": torch.zeros(1)}, "the network gives dict; expected"),
        (decode(maps(2), torch.tensor(ANCHORS), (4, 8))[:, :-1], r"the network gives torch.Size\(\[1, 639, 7\]\)"),
    ],
    ids=["classifier", "a level", "channels", "dict", "not all boxes"],
)
def test_outputs_of_another_kind_are_told(task: Detection, outputs: object, said: str):
    _, targets = next(task.val_batches(1))
    for use in (lambda: task.loss(outputs, targets), lambda: task.metric().update(outputs, targets)):
        with pytest.raises(TypeError, match=said):
            use()


def test_a_network_without_anchors_has_no_such_head():
    with pytest.raises(TypeError, match="must have anchors and strides, as fpgmlab.models.yolov5 has; got Conv2d"):
        YOLOv5Head.of(nn.Conv2d(3, 4, 1))


def test_another_head_says_its_classes_itself():
    class Other:
        stride, classes = 8, 7

    assert classes_of(Other(), None) == 7
    assert classes_of(object(), None) is None
    with pytest.raises(ValueError, match=r"has 7 classes, the task 2: give it a head for those of the task"):
        check_classes(Other(), None, ["a", "b"])

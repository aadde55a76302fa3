"""YOLOv5's loss against a slow one written with loops, and its CIoU against torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou, complete_box_iou_loss

from fpgmlab.models.boxes import corners
from fpgmlab.models.yolov5.loss import LossOptions, box_ious, match, yolov5_loss

STRIDES = (8, 16, 32)
ANCHORS = torch.tensor(
    [[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [90, 40], [9, 9]]]
)
PIXELS = (64, 96)  # height, width


def maps(classes: int, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(batch, 3 * (5 + classes), PIXELS[0] // stride, PIXELS[1] // stride) for stride in STRIDES]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def entropy(logit: float, target: float) -> float:
    p = sigmoid(logit)
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def slow_loss(raw_maps: list[Tensor], targets: list[list[float]], classes: int) -> dict[str, float]:
    """Return the terms of the loss, anchor by anchor, from the published facts."""
    area = PIXELS[0] * PIXELS[1]
    terms = {"box": 0.0, "objectness": 0.0, "classes": 0.0}
    for raw, anchors, stride, weight in zip(raw_maps, ANCHORS.tolist(), STRIDES, (4.0, 1.0, 0.4), strict=True):
        batch, _, rows, columns = raw.shape
        said = raw.detach().view(batch, 3, 5 + classes, rows, columns)
        wanted: dict[tuple[int, int, int, int], float] = {}
        boxes, kinds = [], []
        for image, label, x, y, w, h in targets:
            x, y, w, h = x * columns, y * rows, w * columns, h * rows
            for a, (anchor_w, anchor_h) in enumerate(anchors):
                anchor_w, anchor_h = anchor_w / stride, anchor_h / stride
                if max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h) >= 4:
                    continue
                column, row = min(int(x), columns - 1), min(int(y), rows - 1)
                beside = column - 1 if x - column < 0.5 else column + 1
                above = row - 1 if y - row < 0.5 else row + 1
                for r, c in ((row, column), (row, beside), (above, column)):
                    if not (0 <= r < rows and 0 <= c < columns):
                        continue
                    values = said[int(image), a, :, r, c].tolist()
                    s = [sigmoid(v) for v in values[:4]]
                    found = [
                        2 * s[0] - 0.5 + c,
                        2 * s[1] - 0.5 + r,
                        (2 * s[2]) ** 2 * anchor_w,
                        (2 * s[3]) ** 2 * anchor_h,
                    ]
                    pair = corners(torch.tensor([found, [x, y, w, h]], dtype=torch.double))
                    boxes.append(float(complete_box_iou_loss(pair[:1], pair[1:])))
                    kinds += [entropy(v, float(k == label)) for k, v in enumerate(values[5:])]
                    place = (int(image), a, r, c)
                    wanted[place] = max(wanted.get(place, 0.0), 1 - boxes[-1])
        objectness = [
            entropy(float(said[i, a, 4, r, c]), wanted.get((i, a, r, c), 0.0))
            for i in range(batch)
            for a in range(3)
            for r in range(rows)
            for c in range(columns)
        ]
        terms["box"] += 0.05 * mean(boxes)
        terms["objectness"] += weight * mean(objectness) * area / 640**2
        terms["classes"] += 0.5 * mean(kinds) * classes / 80 if classes > 1 else 0.0
    return terms


TARGETS = {
    "one": [[0, 1, 0.52, 0.41, 0.2, 0.3]],
    "several, two of them alike": [
        [0, 0, 0.52, 0.41, 0.2, 0.3],
        [1, 2, 0.13, 0.77, 0.4, 0.2],
        [1, 1, 0.14, 0.78, 0.35, 0.25],
        [1, 1, 0.14, 0.78, 0.35, 0.25],
    ],
    "on the edges": [[0, 0, 0.0, 0.0, 0.2, 0.2], [1, 1, 1.0, 1.0, 0.3, 0.4]],
    "too small for any anchor": [[0, 1, 0.5, 0.5, 0.001, 0.5]],
    "none": [],
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("classes", [1, 3])
def test_the_loss_is_what_loops_give(name: str, classes: int):
    targets = [[row[0], min(row[1], classes - 1), *row[2:]] for row in TARGETS[name]]
    raw = maps(classes)
    loss = yolov5_loss(raw, torch.tensor(targets).reshape(-1, 6), ANCHORS, STRIDES)
    expected = slow_loss(raw, targets, classes)
    got = {key: float(getattr(loss, key).detach()) for key in expected}
    assert got == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert float(loss.total.detach()) == pytest.approx(sum(expected.values()), rel=1e-4)
    loss.total.backward()
    assert all(bool(level.grad.isfinite().all()) for level in raw)


def test_weights_are_scaled_as_in_yolov5s_training():
    def scaled(height: int, width: int, classes: int, strides: tuple[int, ...]) -> tuple[float, ...]:
        raw = [torch.zeros(1, 2 * (5 + classes), height // s, width // s) for s in strides]
        found = LossOptions().scaled(raw, torch.ones(len(strides), 2, 2), strides)
        return found.box, found.objectness, found.classes

    assert scaled(640, 640, 80, (8, 16, 32)) == (0.05, 1.0, 0.5)
    assert scaled(416, 416, 2, (8, 16, 32)) == pytest.approx((0.05, 0.4225, 0.0125))
    assert scaled(1280, 640, 40, (8, 16, 32, 64)) == pytest.approx((0.0375, 1.5, 0.1875))


def test_the_order_of_objects_does_not_matter():
    targets = torch.tensor(TARGETS["several, two of them alike"])
    raw = maps(3)
    totals = [yolov5_loss(raw, targets[order], ANCHORS, STRIDES).total for order in ([0, 1, 2, 3], [3, 1, 0, 2])]
    torch.testing.assert_close(*totals)


def test_channels_last_maps_give_the_same():
    targets, raw = torch.tensor(TARGETS["one"]), maps(3)
    last = [each.contiguous(memory_format=torch.channels_last) for each in raw]
    loss = yolov5_loss(last, targets, ANCHORS, STRIDES).total
    torch.testing.assert_close(loss, yolov5_loss(raw, targets, ANCHORS, STRIDES).total)


def test_weights_scale_their_terms():
    raw, targets = maps(3), torch.tensor(TARGETS["one"])
    plain = yolov5_loss(raw, targets, ANCHORS, STRIDES)
    options = LossOptions(box=0.1, objectness=3.0, classes=0.0, levels=(4.0, 1.0, 0.4))
    weighted = yolov5_loss(raw, targets, ANCHORS, STRIDES, options)
    torch.testing.assert_close(weighted.box, 2 * plain.box)
    torch.testing.assert_close(weighted.objectness, 3 * plain.objectness)
    assert weighted.classes == 0
    assert yolov5_loss(raw, targets, ANCHORS, STRIDES, LossOptions(ratio=1.0)).box == 0  # nothing is similar enough


def test_going_down_the_gradient_finds_the_object():
    raw = [torch.zeros(1, 3 * 7, 2, 3, requires_grad=True)]
    targets, anchors = torch.tensor([[0.0, 1, 0.6, 0.4, 0.3, 0.5]]), torch.tensor([[[30.0, 30], [60, 20], [20, 60]]])
    options = LossOptions(box=1.0, levels=(1.0,))
    optimizer = torch.optim.Adam(raw, lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        yolov5_loss(raw, targets, anchors, (32,), options).total.backward()
        optimizer.step()
    from fpgmlab.models.boxes import decode, suppress

    (found,) = suppress(decode([raw[0].detach()], anchors, (32,)))
    assert found["labels"].tolist() == [1]
    wanted = corners(torch.tensor([[0.6 * 96, 0.4 * 64, 0.3 * 96, 0.5 * 64]]))
    assert float(box_iou(found["boxes"], wanted)) > 0.95


def test_matches_lie_within_half_a_cell_of_their_cell():
    targets = torch.rand(200, 6, generator=torch.Generator().manual_seed(0))
    targets[:, 4:] = targets[:, 4:] * 0.5 + 0.05
    found = match(targets, torch.tensor([[1.0, 1.0], [3.0, 2.0]]), rows=5, columns=7)
    assert bool((found.box[:, :2] >= -0.5).all())
    assert bool((found.box[:, :2] < 1.5).all())
    assert bool(((found.row >= 0) & (found.row < 5) & (found.column >= 0) & (found.column < 7)).all())


def test_ciou_is_torchvisions():
    a, b = (torch.rand(500, 4, generator=torch.Generator().manual_seed(seed)).double() + 0.1 for seed in (1, 2))
    a.requires_grad_()
    mine = 1 - box_ious(a, b)[1]
    theirs = complete_box_iou_loss(corners(a), corners(b))
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)
    gradients = [torch.autograd.grad(loss.sum(), a, retain_graph=True)[0] for loss in (mine, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(box_ious(a, b)[0], box_iou(corners(a), corners(b)).diag(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(2, 5), r"must be \(objects, 6\).* got \(2, 5\)"),
        (torch.tensor([[2.0, 0, 0.5, 0.5, 0.1, 0.1]]), "name picture 2; there are 2, from 0"),
        (torch.tensor([[0.0, 3, 0.5, 0.5, 0.1, 0.1]]), "name class 3; there are 3, from 0"),
        (torch.tensor([[0.0, -1, 0.5, 0.5, 0.1, 0.1]]), "name class -1"),
        (torch.tensor([[0.0, 0, 0.5, 0.5, 0.0, 0.1]]), "a box without width or height"),
    ],
)
def test_targets_that_cannot_be_are_named(targets: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        yolov5_loss(maps(3), targets, ANCHORS, STRIDES)

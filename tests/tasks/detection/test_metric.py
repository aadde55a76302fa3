"""Mean average precision: COCO's own program as the oracle."""

from __future__ import annotations

import contextlib
import io
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from fpgmlab.sensitivity.curves.states import compute, state_of
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, described
from fpgmlab.tasks import UltralyticsHead, YOLOv5Head
from fpgmlab.tasks.detection.metric import BoxPrecision
from tests.tasks.detection.made import Given


def pictures(count: int = 12, classes: int = 3, boxes: int = 9) -> tuple[Tensor, Tensor]:
    """Return detections (count, rows, 6) that are partly right, and targets (count, rows, 5), partly filled up."""
    corner = torch.rand(count, boxes, 2) * 80
    truth = torch.cat([corner, corner + 5 + 40 * torch.rand(count, boxes, 2)], dim=2)
    labels = torch.randint(classes, (count, boxes, 1)).float()
    absent = torch.rand(count, boxes, 1) < 0.3
    targets = torch.cat([torch.where(absent, -1.0, labels), truth], dim=2)
    moved = truth + 3 * torch.randn(count, boxes, 4)
    moved[..., 2:] = torch.maximum(moved[..., 2:], moved[..., :2] + 1)
    said = torch.where(torch.rand(count, boxes, 1) < 0.2, (labels + 1) % classes, labels)
    return torch.cat([moved, torch.rand(count, boxes, 1), said], dim=2), targets


def with_crowds(targets: Tensor, share: float) -> Tensor:
    """Return targets some of which are crowds, larger than single objects."""
    crowd = (targets[..., :1] >= 0) & (torch.rand(*targets.shape[:2], 1) < share)
    grown = targets[..., 1:] + torch.tensor([-8.0, -8, 8, 8])
    return torch.where(crowd, torch.cat([-2 - targets[..., :1], grown], dim=2), targets)


def by_pycocotools(found: Tensor, targets: Tensor, most: int = 100) -> tuple[float, float]:
    """Return mean average precision at 0.5:0.95 and at 0.5 of so many detections of a class in a picture."""
    wanted = [
        {
            "image_id": i,
            "category_id": int(r[0] if r[0] >= 0 else -2 - r[0]),
            "iscrowd": int(r[0] < -1),
            "bbox": xywh(r[1:]),
            "area": float((r[3] - r[1]) * (r[4] - r[2])),
        }
        for i, rows in enumerate(targets)
        for r in rows
        if r[0] != -1
    ]
    results = [
        {"image_id": i, "category_id": int(r[5]), "bbox": xywh(r[:4]), "score": float(r[4])}
        for i, rows in enumerate(found)
        for r in rows
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(targets))],
            "categories": [{"id": i} for i in range(int(targets[..., 0].max()) + 1)],
            "annotations": [a | {"id": i} for i, a in enumerate(wanted, 1)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, min(10, most), most]
        evaluation.evaluate()
        evaluation.accumulate()
        if most == 100:  # its summary knows no other number
            evaluation.summarize()
            return evaluation.stats[0], evaluation.stats[1]
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes); -1 of an absent class
    return tuple(float(part[part > -1].mean()) for part in (precision, precision[0]))


def xywh(box: Tensor) -> list[float]:
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


@pytest.mark.parametrize("crowds", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_pycocotools_says(seed: int, crowds: float):
    torch.manual_seed(seed)
    found, targets = pictures()
    targets = with_crowds(targets, crowds)
    expected = by_pycocotools(found, targets)
    assert 0.05 < expected[0] < expected[1] < 0.95  # neither trivial
    for kind, value in zip(("map", "map50"), expected, strict=True):
        metric = BoxPrecision(Given(), kind)
        for start in range(0, len(found), 5):  # batches of different size
            metric.update(found[start : start + 5], targets[start : start + 5])
        assert float(metric.compute()) == pytest.approx(value, abs=1e-4)


def test_states_of_batches_merge_to_the_whole():
    found, targets = pictures()
    whole = BoxPrecision(Given())
    whole.update(found, targets)
    parts = [state_of(BoxPrecision(Given()), found[a:b], targets[a:b]) for a, b in ((0, 1), (1, 7), (7, 12))]
    from safetensors.torch import load

    assert compute(BoxPrecision(Given()), [load(p) for p in parts]) == pytest.approx(float(whole.compute()), abs=1e-6)


def test_without_labels_the_unpruned_network_is_perfect_and_another_is_not():
    found, _ = pictures()
    # What is unsure does not count as an answer, and comes after all answers.
    assert ((found[..., 4] < 0.25).sum(), len(found)) > (0, 0)
    same, other = BoxPrecision(Given(), "map", True), BoxPrecision(Given(), "map", True)
    same.update(found, found)
    assert float(same.compute()) == pytest.approx(1.0)
    worse = found.clone()
    worse[..., :4] += 4
    other.update(worse, found)
    sure = torch.where(found[..., 4:5] >= 0.25, found[..., 5:], -1.0)
    expected, _ = by_pycocotools(worse, torch.cat([sure, found[..., :4]], dim=2))
    assert float(other.compute()) == pytest.approx(expected, abs=1e-4)
    assert expected < 0.9


def test_nothing_to_find_and_nothing_found():
    found, targets = pictures()
    nothing = BoxPrecision(Given())
    nothing.update(found, torch.full((12, 0, 5), -1.0))
    assert float(nothing.compute()) == 0.0
    blind = BoxPrecision(Given())
    blind.update(found[:, :0], targets)
    assert float(blind.compute()) == 0.0
    background = BoxPrecision(Given())
    background.update(found[:2], torch.cat([targets[:1], torch.full_like(targets[:1], -1.0)]))
    assert math.isfinite(float(background.compute()))


def test_a_crowd_is_neither_to_be_found_nor_wrong_to_find():
    found = torch.tensor([[[0.0, 0, 9, 9, 0.5, 0], [50, 50, 59, 59, 0.9, 0], [52, 52, 59, 59, 0.8, 0]]])
    single, crowd = [0.0, 0, 0, 9, 9], [-2.0, 40, 40, 80, 80]
    for truth, value in (([single, crowd], 1.0), ([crowd], 0.0), ([single, [0.0, *crowd[1:]]], 51 / 101 / 3)):
        metric = BoxPrecision(Given(), "map50")
        metric.update(found, torch.tensor([truth]))
        assert float(metric.compute()) == pytest.approx(value, abs=1e-6)


# Crowded pictures ----------------------------------------------------------------------------------------------------


class Limited(Given):
    """A head that leaves only so many."""

    def detections(self, outputs: Tensor, confidence: float, limit: int = 300) -> list[dict[str, Tensor]]:
        found = super().detections(outputs, confidence)
        strongest = [one["scores"].argsort(descending=True)[:limit] for one in found]
        return [
            {name: part[of_one] for name, part in one.items()} for one, of_one in zip(found, strongest, strict=True)
        ]


@pytest.mark.parametrize("most", [1, 5, 40, 100, 130, 400])
def test_as_many_as_asked_for_count_as_in_pycocotools(most: int):
    torch.manual_seed(0)
    found, targets = pictures(3, 2, 300)
    expected = by_pycocotools(found, targets, most)
    for kind, value in zip(("map", "map50"), expected, strict=True):
        metric = BoxPrecision(Limited(), kind, detections=most)
        metric.update(found, targets)
        assert float(metric.compute()) == pytest.approx(value, abs=1e-4)
    assert (expected[1] > by_pycocotools(found, targets, 100)[1] + 0.01) == (most > 100)


def grid(side: int = 20) -> tuple[Tensor, Tensor]:
    """Return targets (1, side * side, 5), squares of 8 pixels beside each other, and a score for each."""
    y, x = torch.meshgrid(torch.arange(side) * 8.0, torch.arange(side) * 8.0, indexing="ij")
    corner = torch.stack((x, y), dim=-1).flatten(0, 1)  # (squares, 2)
    rows = torch.cat((torch.zeros(len(corner), 1), corner, corner + 8), dim=1)
    return rows[None], torch.linspace(0.9, 0.1, len(corner))


@pytest.mark.parametrize(("most", "recalls"), [(100, 26), (300, 76), (399, 100), (400, 101), (1000, 101)])
def test_all_of_many_found_count_up_to_the_limit(most: int, recalls: int):
    # Precision is 1 up to a recall of most / 400; thresholds of recall are 0, 0.01, ... 1.
    targets, scores = grid()
    found = torch.cat((targets[0, :, 1:], scores[:, None], targets[0, :, :1]), dim=1)[None]
    metric, agreement = (BoxPrecision(Limited(), "map", unlabelled, detections=most) for unlabelled in (False, True))
    metric.update(found, targets)
    assert float(metric.compute()) == pytest.approx(recalls / 101, abs=1e-6)
    agreement.update(found, found)
    assert float(agreement.compute()) == pytest.approx(1.0)


def raw(head: YOLOv5Head | UltralyticsHead) -> tuple[Tensor, ...]:
    """Return outputs of a head of one class with which it finds all of `grid`."""
    _, scores = grid()
    logits = scores.logit().view(1, 1, 20, 20)
    if isinstance(head, UltralyticsHead):
        return (torch.cat((torch.full((1, 4, 20, 20), 0.5), logits), dim=1),)  # sides are half a cell away
    one = torch.cat((torch.zeros(1, 4, 20, 20), logits, torch.zeros(1, 1, 20, 20)), dim=1)
    return (one.repeat(1, len(head.anchors[0]), 1, 1),)


HEADS = {"yolov5": YOLOv5Head((((8.0, 8.0),) * 10,), (8,)), "ultralytics": UltralyticsHead(1, (8,))}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_leave_as_many_as_count(head: YOLOv5Head | UltralyticsHead):
    # Of ten anchors in each cell, 4,000 boxes, the 3,000 that are compared as a rule are only of 300 cells.
    outputs, (targets, _) = raw(head), grid()
    assert [len(head.detections(outputs, 0.05, limit)[0]["boxes"]) for limit in (10, 300, 350, 1200)] == [
        10, 300, 350, 400
    ]  # fmt: skip
    assert len(head.detections(outputs, 0.05)[0]["boxes"]) == 300
    for most, recalls in ((100, 26), (400, 101)):
        metric = BoxPrecision(head, "map", detections=most)
        metric.update(outputs, targets)
        assert float(metric.compute()) == pytest.approx(recalls / 101, abs=1e-6)


def test_a_stored_sweep_tells_other_numbers_from_the_usual_one():
    usual, same, more = (
        described(TaskMetric("map50", metric))
        for metric in (
            BoxPrecision(Given()),
            BoxPrecision(Given(), detections=100),
            BoxPrecision(Given(), detections=9),
        )
    )
    assert usual == same
    assert "detections" not in usual  # as before there was a choice
    assert "detections=9" in more


@pytest.mark.parametrize("number", [0, -3, 2.5, "100", None, True])
def test_numbers_that_are_none(number: object):
    with pytest.raises(ValueError, match="detections must be a whole number of at least 1; got"):
        BoxPrecision(Given(), detections=number)


def test_a_kind_that_does_not_exist():
    with pytest.raises(ValueError, match="'map50' or 'map'; not 'map75'"):
        BoxPrecision(Given(), "map75")

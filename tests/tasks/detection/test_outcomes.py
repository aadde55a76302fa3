"""Which detections are right: against pycocotools."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.cocoeval import COCOeval, Params

from fpgmlab.tasks.detection import outcomes


def coco_matches(found: dict[str, torch.Tensor], wanted: torch.Tensor) -> tuple[set[int], set[int]]:
    """Return the numbers of the detections and of the boxes that COCO's evaluation pairs at an overlap of 0.5."""

    def sides(boxes: torch.Tensor) -> list[list[float]]:
        return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).double().tolist()

    judge = COCOeval()
    judge.params = Params("bbox")
    judge.params.iouThrs, judge.params.maxDets = np.array([0.5]), [100]
    labels = sorted({*found["labels"].tolist(), *wanted[:, 0].int().tolist()})
    judge.params.imgIds, judge.params.catIds = [1], labels
    right, taken = set(), set()
    for label in labels:
        judge._gts[1, label] = [
            {"id": i + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "ignore": 0}
            for i, box in enumerate(sides(wanted[:, 1:])) if wanted[i, 0] == label
        ]  # fmt: skip
        judge._dts[1, label] = [
            {"id": i + 1, "bbox": box, "area": box[2] * box[3], "score": float(found["scores"][i])}
            for i, box in enumerate(sides(found["boxes"])) if found["labels"][i] == label
        ]  # fmt: skip
        judge.ious[1, label] = judge.computeIoU(1, label)
        result = judge.evaluateImg(1, label, [0, 1e10], 100)
        for own, match in zip(result["dtIds"], result["dtMatches"][0], strict=True) if result else ():
            if match:
                right.add(own - 1)
                taken.add(int(match) - 1)
    return right, taken


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 8))
def test_right_wrong_missed_as_coco_does(seed: int, detections: int, boxes: int):
    random = torch.Generator().manual_seed(seed)

    def some(count: int) -> torch.Tensor:
        low = 40 * torch.rand(count, 2, generator=random)
        return torch.cat([low, low + 10 + 30 * torch.rand(count, 2, generator=random)], dim=1)

    labels = torch.randint(0, 2, (boxes, 1), generator=random).float()
    wanted = torch.cat([labels, some(boxes)], dim=1)
    found = {
        "boxes": torch.cat([wanted[:, 1:] + 4 * torch.rand(boxes, 4, generator=random), some(detections)]),
        "scores": torch.rand(boxes + detections, generator=random),
        "labels": torch.randint(0, 2, (boxes + detections,), generator=random),
    }
    right, taken = outcomes(found, wanted)
    assert ({*right.nonzero()[:, 0].tolist()}, {*taken.nonzero()[:, 0].tolist()}) == coco_matches(found, wanted)

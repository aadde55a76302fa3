"""Tree crowns in aerial images, the detection data that ship (Weinstein et al., 2019, doi:10.3390/rs11111309; MIT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fpgmlab.common.files import data_file
from fpgmlab.tasks.detection.augment import BoxAugment
from fpgmlab.tasks.detection.coco import coco_boxes
from fpgmlab.tasks.detection.crowded import MOST
from fpgmlab.tasks.detection.heads import Head
from fpgmlab.tasks.detection.task import LIGHT, YOLOV5, Detection

if TYPE_CHECKING:
    from torchmetrics import Metric


def trees(
    *,
    classes: int | Sequence[str] | None = None,
    size: int = 416,
    head: Head = YOLOV5,
    augment: BoxAugment | None = LIGHT,
    name: str = "trees",
    metrics: Mapping[str, Callable[[], Metric]] | None = None,
    detections: int = MOST,
) -> Detection:
    """Return the task of the shipped data: 37 tiles to train on and 10 to validate, one class.

    Parameters
    ----------
    classes, size, head, augment, name, metrics, detections
        As of `fpgmlab.tasks.Detection`.
    """
    train, val = (coco_boxes(data_file("trees", f"{split}.json")) for split in ("train", "val"))
    return Detection(train, val, classes, size, head, augment, name, metrics or {}, detections)

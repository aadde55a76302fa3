"""Tree crowns in aerial images, the detection data that ship (Weinstein et al., 2019, doi:10.3390/rs11111309; MIT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fpgmlab.common.files import data_file
from fpgmlab.common.numbers import whole_number
from fpgmlab.tasks.detection.augment import BoxAugment
from fpgmlab.tasks.detection.coco import coco_boxes
from fpgmlab.tasks.detection.crowded import MOST
from fpgmlab.tasks.detection.heads import Head
from fpgmlab.tasks.detection.task import LIGHT, YOLOV5, Detection

if TYPE_CHECKING:
    from torchmetrics import Metric

TILE, COLUMNS = 400, 6  # pixels, and how many tiles YELL_528 is wide


def trees(
    *,
    classes: int | Sequence[str] | None = None,
    size: int = 416,
    head: Head = YOLOV5,
    augment: BoxAugment | None = LIGHT,
    name: str = "trees",
    metrics: Mapping[str, Callable[[], Metric]] | None = None,
    detections: int = MOST,
    holdout: int | None = None,
    seed: int = 0,
) -> Detection:
    """Return the task of the shipped data: 37 tiles to train on and 10 to validate, one class.

    Aerial images with boxes around trees, of DeepForest (Weinstein et al., 2019, doi:10.3390/rs11111309).

    Parameters
    ----------
    classes, size, head, augment, name, metrics, detections
        As of `fpgmlab.tasks.Detection`.
    holdout : int, optional
        So many of the 37 tiles are to validate, and the 10 to test with, as by ``trees().holdout(n)``. Of one image
        some tiles then train and some validate; the test is of other images. For folds: `tree_groups`.
    seed : int
        Of the draw.
    """
    train, val = (coco_boxes(data_file("trees", f"{split}.json"), check=False) for split in ("train", "val"))
    task = Detection(train, val, classes, size, head, augment, name, metrics or {}, detections)
    return task if holdout is None else task.holdout(holdout, seed)


def tree_groups(strips: int = 3) -> list[str]:
    """Return a group for each of the 47 tiles of `trees`, for cross-validation by `fpgmlab.tasks.folds`.

    36 tiles are of one image, ``YELL_528``, which is parted into strips of whole columns of tiles; the 11 tiles of the
    other three images are one more group. No pixel is in two groups. With three strips they have 12, 12, 12 and 11
    tiles. Neighbouring strips show the same wood on the same day, and a tree at their border is cut in two; with
    ``strips=1`` no image is in two groups.

    Parameters
    ----------
    strips : int
        1 to 6.

    Raises
    ------
    ValueError
        For another number.
    """
    if whole_number("strips", strips) > COLUMNS:
        raise ValueError(f"strips must be 1 to {COLUMNS}, the columns of tiles of YELL_528; got {strips}")
    columns = [column * strips // COLUMNS for column in range(COLUMNS)]
    groups = []
    for split in ("train", "val"):
        for path in coco_boxes(data_file("trees", f"{split}.json"), check=False).paths:
            image, left, _ = path.stem.rsplit("_", 2)
            strip = columns[int(left) // TILE] + 1
            groups.append(f"YELL_528, strip {strip} of {strips}" if "_528000_" in image else "the other images")
    return groups

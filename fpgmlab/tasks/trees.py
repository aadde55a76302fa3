"""Tree crowns in aerial images, the detection data that ship (Weinstein et al., 2019, doi:10.3390/rs11111309; MIT)."""

from __future__ import annotations

from fpgmlab.common.files import data_file
from fpgmlab.tasks.detection.coco import coco_boxes
from fpgmlab.tasks.detection.task import Detection


def trees(**options: object) -> Detection:
    """Return the task of the shipped data: 37 tiles to train on and 10 to validate, one class.

    Parameters
    ----------
    **options
        Of `fpgmlab.tasks.Detection`, such as ``size``.
    """
    train, val = (coco_boxes(data_file("trees", f"{split}.json")) for split in ("train", "val"))
    return Detection(train, val, **{"name": "trees", **options})

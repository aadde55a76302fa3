"""Tree crowns in aerial images, the detection data that ship (Weinstein et al., 2019, doi:10.3390/rs11111309; MIT)."""

from __future__ import annotations

from fpgmlab.files import data_file
from fpgmlab.tasks.detection import Detection
from fpgmlab.tasks.detection_coco import coco_boxes


def trees(**options: object) -> Detection:
    """Return the task of the shipped data: 37 tiles to train on and 10 to validate, one class.

    Parameters
    ----------
    **options
        Of `fpgmlab.tasks.Detection`, such as ``size``.
    """
    train, val = (coco_boxes(data_file("trees", f"{split}.json")) for split in ("train", "val"))
    return Detection(train, val, **{"name": "trees", **options})

"""Detection: pictures with boxes, a detector's own loss, and mean average precision.

In: data sets in COCO's or YOLO's layout. Out: a `Detection` task; a head for each family of detectors, which knows
what its outputs mean.
"""

from fpgmlab.tasks.detection.augment import BoxAugment
from fpgmlab.tasks.detection.coco import coco_boxes
from fpgmlab.tasks.detection.heads import Head, YOLOv5Head
from fpgmlab.tasks.detection.outcomes import outcomes
from fpgmlab.tasks.detection.pictures import BoxedPictures
from fpgmlab.tasks.detection.ppyoloe import PPYOLOEHead, PPYOLOEMaps
from fpgmlab.tasks.detection.task import Detection
from fpgmlab.tasks.detection.ultralytics import UltralyticsHead, UltralyticsMaps
from fpgmlab.tasks.detection.yolo import yolo_boxes

__all__ = [
    "BoxAugment",
    "BoxedPictures",
    "Detection",
    "Head",
    "PPYOLOEHead",
    "PPYOLOEMaps",
    "UltralyticsHead",
    "UltralyticsMaps",
    "YOLOv5Head",
    "coco_boxes",
    "outcomes",
    "yolo_boxes",
]

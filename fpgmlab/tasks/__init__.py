"""Tasks: what to do with a batch. One file for each kind of task."""

from fpgmlab.tasks.classification import Classification, image_folder, shift_and_flip
from fpgmlab.tasks.detection import Detection
from fpgmlab.tasks.detection_augment import BoxAugment
from fpgmlab.tasks.detection_coco import coco_boxes
from fpgmlab.tasks.detection_data import BoxedPictures
from fpgmlab.tasks.detection_heads import YOLOv5Head
from fpgmlab.tasks.detection_ppyoloe import PPYOLOEHead, PPYOLOEMaps
from fpgmlab.tasks.detection_ultralytics import UltralyticsHead, UltralyticsMaps
from fpgmlab.tasks.detection_yolo import yolo_boxes
from fpgmlab.tasks.evaluation import evaluate
from fpgmlab.tasks.fashion import fashion_mnist
from fpgmlab.tasks.trees import trees

__all__ = [
    "BoxAugment",
    "BoxedPictures",
    "Classification",
    "Detection",
    "PPYOLOEHead",
    "PPYOLOEMaps",
    "UltralyticsHead",
    "UltralyticsMaps",
    "YOLOv5Head",
    "coco_boxes",
    "evaluate",
    "fashion_mnist",
    "image_folder",
    "shift_and_flip",
    "trees",
    "yolo_boxes",
]

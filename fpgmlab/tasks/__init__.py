"""Tasks: data, loss and metric; all that training and evaluation need. One file for each kind of task.

In: data sets. Out: a `Task`, the protocol that everything below asks of a task.
"""

from typing import TYPE_CHECKING

from fpgmlab.tasks.classification import Classification, shift_and_flip
from fpgmlab.tasks.detection.augment import BoxAugment
from fpgmlab.tasks.detection.coco import coco_boxes
from fpgmlab.tasks.detection.heads import YOLOv5Head
from fpgmlab.tasks.detection.pictures import BoxedPictures
from fpgmlab.tasks.detection.ppyoloe import PPYOLOEHead, PPYOLOEMaps
from fpgmlab.tasks.detection.task import Detection
from fpgmlab.tasks.detection.ultralytics import UltralyticsHead, UltralyticsMaps
from fpgmlab.tasks.detection.yolo import yolo_boxes
from fpgmlab.tasks.evaluation import evaluate
from fpgmlab.tasks.fashion import fashion_mnist
from fpgmlab.tasks.folder import image_folder
from fpgmlab.tasks.folds import folds
from fpgmlab.tasks.task import Task
from fpgmlab.tasks.trees import tree_groups, trees

if TYPE_CHECKING:
    _TASKS: tuple[type[Task], ...] = (Classification, Detection)  # a type error when one is none

__all__ = [
    "BoxAugment",
    "BoxedPictures",
    "Classification",
    "Detection",
    "PPYOLOEHead",
    "PPYOLOEMaps",
    "Task",
    "UltralyticsHead",
    "UltralyticsMaps",
    "YOLOv5Head",
    "coco_boxes",
    "evaluate",
    "fashion_mnist",
    "folds",
    "image_folder",
    "shift_and_flip",
    "tree_groups",
    "trees",
    "yolo_boxes",
]

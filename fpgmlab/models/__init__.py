"""Models that ship: architectures to build, and trained checkpoints to load."""

from fpgmlab.models.yolov5 import YOLOv5
from fpgmlab.models.zoo import available, build, load, resnet20, resnet32, resnet56, resnet110, vgg16, yolov5

__all__ = ["YOLOv5", "available", "build", "load", "resnet20", "resnet32", "resnet56", "resnet110", "vgg16", "yolov5"]

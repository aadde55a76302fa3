"""Models: architectures to build, trained checkpoints to load, models saved and loaded again.

In: a name, or a path. Out: an ``nn.Module`` with its provenance. One file an architecture; YOLOv5 has a folder.
"""

from fpgmlab.models.yolov5.network import YOLOv5
from fpgmlab.models.zoo import available, build, load, resnet20, resnet32, resnet56, resnet110, vgg16, yolov5

__all__ = ["YOLOv5", "available", "build", "load", "resnet20", "resnet32", "resnet56", "resnet110", "vgg16", "yolov5"]

"""Models: architectures to build, trained checkpoints to load, models saved and loaded again.

In: a name, or a path. Out: an ``nn.Module`` with its provenance. One file an architecture; YOLOv5 has a folder.
Beside them efficient convolutions to build with, and how far layers look.
"""

from fpgmlab.models.convolutions import ChannelShuffle, DepthwiseSeparable, ShuffledGrouped, convolution, weights_of
from fpgmlab.models.receptive import receptive_field, receptive_field_size
from fpgmlab.models.shipped import available
from fpgmlab.models.yolov5.network import YOLOv5
from fpgmlab.models.zoo import build, load, resnet20, resnet32, resnet56, resnet110, vgg16, yolov5

__all__ = [
    "ChannelShuffle",
    "DepthwiseSeparable",
    "ShuffledGrouped",
    "YOLOv5",
    "available",
    "build",
    "convolution",
    "load",
    "receptive_field",
    "receptive_field_size",
    "resnet20",
    "resnet32",
    "resnet56",
    "resnet110",
    "vgg16",
    "weights_of",
    "yolov5",
]

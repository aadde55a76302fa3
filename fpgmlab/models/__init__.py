"""Models that ship: architectures to build, and trained checkpoints to load."""

from fpgmlab.models.zoo import available, build, load, resnet20, resnet32, resnet56, resnet110, vgg16

__all__ = ["available", "build", "load", "resnet20", "resnet32", "resnet56", "resnet110", "vgg16"]

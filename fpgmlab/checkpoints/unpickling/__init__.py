"""Torch checkpoints read as data: classes and functions that a file names are never imported or called."""

from fpgmlab.checkpoints.unpickling.inert import Record
from fpgmlab.checkpoints.unpickling.reader import read_checkpoint
from fpgmlab.checkpoints.unpickling.trees import tensors_of

__all__ = ["Record", "read_checkpoint", "tensors_of"]

"""Torch checkpoints read as data: classes and functions that a file names are never imported or called."""

from fpgmlab.unpickling.inert import Record
from fpgmlab.unpickling.reader import read_checkpoint
from fpgmlab.unpickling.trees import tensors_of

__all__ = ["Record", "read_checkpoint", "tensors_of"]

"""Checkpoints: weights on disk, our own and those of others; nothing that is read is ever executed.

In: paths, names of files that can be fetched. Out: tensors by name, with the record that lies beside them.
"""

from fpgmlab.checkpoints import assets
from fpgmlab.checkpoints.unpickling import Record, read_checkpoint, tensors_of
from fpgmlab.checkpoints.weights import Weights, read_weights, write_weights

__all__ = ["Record", "Weights", "assets", "read_checkpoint", "read_weights", "tensors_of", "write_weights"]

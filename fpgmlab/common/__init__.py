"""Common ground: files on disk, modules of torch, the data folder.

In: paths, ``nn.Module``, batches of data. Out: the same, with a promise: a file is whole or not there, a model is left
as it was. Nothing here knows of channels.
"""

from fpgmlab.common.attributes import match_attributes
from fpgmlab.common.batches import examples_in, on_device
from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.files import atomic_path, data_dir, data_file
from fpgmlab.common.modules import (
    channels_last,
    device_of,
    eval_mode,
    full_name,
    named_tensors,
    split_name,
    stage,
    tensor_of,
    tensors_in,
)

__all__ = [
    "atomic_path",
    "call",
    "channels_last",
    "data_dir",
    "data_file",
    "device_of",
    "eval_mode",
    "examples_in",
    "full_name",
    "left_as_it_is",
    "match_attributes",
    "named_tensors",
    "on_device",
    "split_name",
    "stage",
    "tensor_of",
    "tensors_in",
]

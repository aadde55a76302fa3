"""A batch of a task's data: where it lies, and how many examples it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

T = TypeVar("T")


def on_device(batch: T, device: torch.device, *, channels_last: bool | None = None) -> T:
    """Move the tensors of a batch, also those in dicts, lists and tuples, to a device.

    Parameters
    ----------
    batch : object
        Inputs or targets; what is no tensor stays as it is.
    device : torch.device
    channels_last : bool, optional
        Lay 4-D tensors out with the channels last, which convolutions in training, or of weights laid out alike,
        prefer; or with the channels before the pixels, which some models' code wants, see
        `fpgmlab.common.layout.bears_channels_last`. As they are when left out.

    Returns
    -------
    object
        The batch, built alike.
    """

    def moved(tensor: Tensor) -> Tensor:
        tensor = tensor.to(device)
        if channels_last is None or tensor.ndim != 4:
            return tensor
        # Of one channel both layouts are contiguous, and yet a convolution follows the one that the strides tell.
        layout = torch.channels_last if channels_last else torch.contiguous_format
        stride = 1 if channels_last else tensor.shape[2] * tensor.shape[3]
        there = tensor.stride(1) == stride and tensor.is_contiguous(memory_format=layout)
        return tensor if there else tensor.clone(memory_format=layout)

    return tree_map_only(Tensor, moved, batch)


def examples_in(inputs: object, targets: object = None) -> int:
    """Return how many examples a batch has.

    Parameters
    ----------
    inputs : object
        A tensor (examples, ...); a dict or tuple of keyword or positional arguments of the network, of which the first
        counts; a list with an item for each example, or with several inputs of all examples, which the targets tell.
    targets : object, optional
        Tell what a list of tensors is: one that is not as long as the targets, but whose tensors are, holds inputs.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(inputs, Mapping) and inputs:
        return examples_in(next(iter(inputs.values())), targets)
    if isinstance(inputs, tuple) and inputs:
        return examples_in(inputs[0], targets)
    if isinstance(inputs, Tensor) and inputs.ndim:
        return len(inputs)
    if isinstance(inputs, list) and inputs:
        wanted = len(targets) if isinstance(targets, Tensor) and targets.ndim else len(inputs)
        each = [len(item) if isinstance(item, Tensor) and item.ndim else None for item in inputs]
        return wanted if len(inputs) != wanted and set(each) == {wanted} else len(inputs)
    raise TypeError(
        "inputs of a batch must be a tensor (examples, ...), a list with an item for each example, or a dict or tuple "
        f"of arguments of the network; got a {type(inputs).__name__}"
    )

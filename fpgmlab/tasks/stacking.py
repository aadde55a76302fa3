"""Examples of classification as batches; what cannot be one is told in the words of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from fpgmlab.common.numbers import counted
from fpgmlab.tasks.sets import Examples

LABELS = (torch.int64, torch.uint8)  # what torch's cross entropy takes


def read(data: Examples, numbers: Sequence[int], name: str) -> tuple[Tensor, Tensor]:
    """Return some examples of a data set as a batch, as `stacked` does."""
    many = getattr(data, "__getitems__", None)  # the data loader's way to ask for a whole batch
    return stacked(many(list(numbers)) if many else [data[number] for number in numbers], name)


def stacked(examples: list[Any], name: str) -> tuple[Tensor, Tensor]:
    """Return examples as a batch: images (batch, channels, height, width), labels (batch,).

    Parameters
    ----------
    examples : list of (image, label)
    name : str
        Of the task, for errors.

    Raises
    ------
    TypeError
        For examples that are no pair, images that are no float tensors, and labels that are no integers.
    ValueError
        For images of several sizes.
    """
    try:
        batch = default_collate(examples)
    except (TypeError, RuntimeError) as error:  # looked at only now: most batches are sound
        _check_images(examples, name, error)
        raise
    if not isinstance(batch, (list, tuple)) or len(batch) != 2:
        count = counted(len(batch), "thing") if isinstance(batch, (list, tuple)) else type(examples[0]).__name__
        raise TypeError(f"{name}: an example must be a pair (image, label); got {count}")
    images, labels = batch
    if isinstance(images, Tensor) and images.ndim == 4 and not images.is_floating_point():
        raise no_image(images[0], name)
    _check_labels(labels, name)
    return images, labels


def no_image(image: object, name: str, place: str = "an example") -> TypeError:
    """Return the error for an image that is no float tensor (channels, height, width)."""
    found = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
    return TypeError(
        f"{name}: a data set must give float tensors (channels, height, width); {place} gave {found}. "
        "Add torchvision.transforms.v2.ToImage() and ToDtype(torch.float32, scale=True)."
    )


def _check_images(examples: Sequence[Any], name: str, error: Exception) -> None:
    """Raise an error for what keeps images from being stacked; it may be something else."""
    images = [each[0] for each in examples if isinstance(each, (list, tuple)) and each]
    for image in images:
        if not isinstance(image, (Tensor, np.ndarray)):
            raise no_image(image, name) from error
    shapes = list(dict.fromkeys(tuple(image.shape) for image in images))
    if len(shapes) > 1:
        raise ValueError(
            f"{name}: all images of a data set must have one size; got {shapes[0]} and {shapes[1]}. "
            "Add torchvision.transforms.v2.Resize(224) and CenterCrop(224)."
        ) from error


def _check_labels(labels: object, name: str) -> None:
    if isinstance(labels, Tensor) and labels.ndim == 1 and labels.dtype in LABELS:
        return
    hint = "Give the number of its class"
    if isinstance(labels, Tensor):
        found = f"{labels.dtype} {tuple(labels.shape[1:]) if labels.ndim > 1 else ''}".rstrip()
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        hint += ", such as label.argmax() of one that is one-hot" if one_hot else ", such as int(label)"
    else:
        found = type(labels[0]).__name__ if isinstance(labels, (list, tuple)) else type(labels).__name__
    raise TypeError(f"{name}: a label must be one integer (torch.int64); got {found}. {hint}.")

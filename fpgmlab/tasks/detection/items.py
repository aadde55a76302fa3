"""What a data set of a detection task gives: a picture with its boxes, checked, and many of them as a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fpgmlab.tasks.detection.augment import Boxed
from fpgmlab.tasks.detection.pictures import crowd_label


def checked(item: object, where: str, classes: int) -> Boxed:
    """Return image, boxes and labels of a data set's item, the boxes as floats.

    Parameters
    ----------
    item : object
        What the data set gave.
    where : str
        Which one it is, for errors.
    classes : int
        How many there are.

    Raises
    ------
    TypeError, ValueError
        For what is none of these, a box of no size, a label that is out of range.
    """
    if not (isinstance(item, tuple | list) and len(item) == 3 and all(isinstance(part, Tensor) for part in item)):
        found = [type(part).__name__ for part in item] if isinstance(item, tuple | list) else type(item).__name__
        raise TypeError(f"{where} must be three tensors: image, boxes, labels; got {found}")
    image, boxes, labels = item
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
        raise TypeError(f"{where} must be uint8 (3, height, width), RGB; got {image.dtype} {tuple(image.shape)}")
    if labels.ndim != 1 or labels.is_floating_point():
        raise TypeError(f"{where}: labels must be int64 (count,); got {labels.dtype} {tuple(labels.shape)}")
    if boxes.shape != (len(labels), 4):
        raise ValueError(f"{where}: boxes must be ({len(labels)}, 4), one for each label; got {tuple(boxes.shape)}")
    boxes = boxes.float()
    if not bool((boxes.isfinite() & (boxes[:, 2:] > boxes[:, :2]).all(1, keepdim=True)).all()):
        raise ValueError(
            f"{where} has a box without width or height, or of no numbers (left, top, right, bottom); leave it out"
        )
    there = torch.where(labels < -1, crowd_label(labels), labels)
    if wrong := labels[(there < 0) | (there >= classes)].tolist():
        raise ValueError(
            f"{where}: label {wrong[0]} is out of range; with {classes} classes labels must be 0 to {classes - 1}"
        )
    return image, boxes, labels


def stacked(pictures: Sequence[Boxed]) -> tuple[Tensor, Tensor]:
    """Return pictures of one size as inputs (batch, 3, size, size), 0 to 1, and targets (batch, boxes, 5)."""
    images = torch.stack([image for image, _, _ in pictures]) / 255
    rows = [torch.cat([labels[:, None].float(), boxes], dim=1) for _, boxes, labels in pictures]
    return images, pad_sequence(rows, batch_first=True, padding_value=-1.0)


def check_counts(**counts: int | None) -> None:
    """Raise a `ValueError` for a number of pictures below 1; None is no number."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be > 0; got {count}")

"""What of a detector's answer is right, and which labelled boxes it found."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

OVERLAP = 0.5  # least intersection over union with a labelled box of a detection that is right


def outcomes(found: Mapping[str, Tensor], wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return which detections of a picture are right, and which labelled boxes are found.

    Parameters
    ----------
    found : dict
        ``boxes`` (count, 4), ``scores`` and ``labels`` (count,).
    wanted : Tensor, (boxes, 5)
        Label, left, top, right, bottom.

    Returns
    -------
    Tensor, (count,) bool
    Tensor, (boxes,) bool
    """
    from torchvision.ops import box_iou

    right, taken = torch.zeros(len(found["boxes"]), dtype=torch.bool), torch.zeros(len(wanted), dtype=torch.bool)
    if not len(wanted):
        return right, taken
    overlaps = box_iou(found["boxes"].float(), wanted[:, 1:].float())  # (count, boxes)
    overlaps[found["labels"][:, None] != wanted[:, 0]] = 0
    for number in found["scores"].argsort(descending=True, stable=True).tolist():
        free = overlaps[number].masked_fill(taken, 0)
        best = int(free.argmax())
        if free[best] >= OVERLAP:
            right[number] = taken[best] = True
    return right, taken


def in_crowds(found: Mapping[str, Tensor], crowds: Tensor) -> Tensor:
    """Return which detections lie, by at least half of their area, in the region of a crowd of their class."""
    boxes = found["boxes"].float()
    corner = torch.maximum(boxes[:, None, :2], crowds[:, 1:3]), torch.minimum(boxes[:, None, 2:], crowds[:, 3:])
    shared = (corner[1] - corner[0]).clamp_min(0).prod(2)  # (count, crowds)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return ((shared >= OVERLAP * area[:, None]) & (found["labels"][:, None] == -2 - crowds[:, 0])).any(1)

"""Targets of a detection task as the losses of detectors want them."""

from __future__ import annotations

import torch
from torch import Tensor


def target_rows(targets: Tensor) -> Tensor:
    """Return targets (batch, boxes, 5) of a detection task as rows of one box each.

    Returns
    -------
    Tensor, (objects, 6)
        The number of the picture, label, centre x, centre y, width, height in pixels.
    """
    there = targets[..., 0] >= 0
    label, left, top, right, bottom = targets[there].unbind(1)
    picture = there.nonzero()[:, 0].to(targets)
    return torch.stack((picture, label, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top), dim=1)

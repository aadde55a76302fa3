"""Raw maps of a YOLOv5 to boxes, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from fpgmlab.common.given import check_model
from fpgmlab.common.modules import tensor_of


def decode(maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> Tensor:
    """Return the boxes of all anchors in all cells.

    With s the sigmoid of what the head says, a centre is ``(2 s - 0.5 + cell) * stride`` and a side
    ``(2 s)^2 * anchor`` (YOLOv5 since release 2).

    Parameters
    ----------
    maps : sequence of Tensor, (batch, anchors * (5 + classes), rows, columns)
        Raw maps, by level.
    anchors : Tensor, (levels, anchors, 2)
        Width and height in pixels.
    strides : sequence of int
        Pixels from cell to cell, by level.

    Returns
    -------
    Tensor, (batch, boxes, 5 + classes)
        Centre x, centre y, width and height in pixels of the input, objectness and class probabilities in [0, 1]; in
        the order level, anchor, row, column. float32. The probability of a single class is 1: it is not trained, and
        others multiply the objectness with it.
    """
    decoded = []
    for raw, sides, stride in zip(maps, anchors.unbind(), strides, strict=True):
        batch, _, rows, columns = raw.shape
        raw = raw.float()
        y, x = torch.meshgrid(
            torch.arange(rows, device=raw.device), torch.arange(columns, device=raw.device), indexing="ij"
        )
        cell = torch.stack((x, y), dim=-1)  # (rows, columns, 2)
        # (batch, anchors, rows, columns, 5 + classes)
        s = raw.view(batch, sides.shape[0], -1, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
        decoded.append(_in_pixels(s, cell, sides.to(raw)[:, None, None], stride).flatten(1, 3))
    boxes = torch.cat(decoded, dim=1)
    if len(boxes.unbind(2)) == 6:  # traced, a shape is no number
        boxes = torch.cat((boxes[..., :5], torch.ones_like(boxes[..., 5:])), dim=2)
    return boxes


def decode_sure(maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int], confidence: float) -> list[Tensor]:
    """Return what `decode` does, but of each picture only the boxes whose objectness is at least a confidence.

    Nothing else can pass `suppress`, and mostly these are few.

    Parameters
    ----------
    maps, anchors, strides
        As in `decode`.
    confidence : float

    Returns
    -------
    list of Tensor, (boxes, 5 + classes)
        In the order of `decode`.
    """
    levels = []
    for raw, sides, stride in zip(maps, anchors.unbind(), strides, strict=True):
        raw = raw.unflatten(1, (len(sides), -1))  # (batch, anchors, 5 + classes, rows, columns)
        picture, anchor, y, x = (raw[:, :, 4].float().sigmoid() >= confidence).nonzero(as_tuple=True)
        s = raw[picture, anchor, :, y, x].float().sigmoid()  # (boxes, 5 + classes)
        boxes = _in_pixels(s, torch.stack((x, y), dim=-1), sides.to(s)[anchor], stride)
        levels.append(boxes.split(picture.bincount(minlength=len(raw)).tolist()))
    return [torch.cat(of_one) for of_one in zip(*levels, strict=True)]


def _in_pixels(s: Tensor, cell: Tensor, sides: Tensor, stride: int) -> Tensor:
    """Return the boxes of sigmoids (..., 5 + classes) in cells (..., 2) of anchors with sides (..., 2)."""
    centre = (2 * s[..., :2] - 0.5 + cell) * stride
    return torch.cat((centre, (2 * s[..., 2:4]) ** 2 * sides, s[..., 4:]), dim=-1)


def sides_of(boxes: int, anchors: int, strides: Sequence[int]) -> int | None:
    """Return the side in pixels of the square input that `decode` gives so many boxes for; None when there is none.

    >>> sides_of(6300, 3, (8, 16, 32))
    320
    """
    pitch = math.lcm(*strides)
    each = anchors * sum((pitch // stride) ** 2 for stride in strides)  # boxes of a square of one pitch
    side = math.isqrt(boxes // each)
    return pitch * side if boxes > 0 and each * side**2 == boxes else None


def encode(boxes: Tensor, anchors: Tensor, strides: Sequence[int], side: int) -> list[Tensor]:
    """Return the raw maps that `decode` makes such boxes of.

    Parameters
    ----------
    boxes : Tensor, (batch, boxes, 5 + classes)
        All that `decode` gives, in its order.
    anchors, strides
        As in `decode`.
    side : int
        Of the square input, in pixels; see `sides_of`.

    Returns
    -------
    list of Tensor, (batch, anchors * (5 + classes), rows, columns)
        What was infinite, or rounded to a probability of 0 or 1, is finite: at most about 16 either way.
    """
    counts = [anchors.shape[1] * (side // stride) ** 2 for stride in strides]
    maps = []
    for part, sides, stride in zip(boxes.float().split(counts, dim=1), anchors.unbind(), strides, strict=True):
        cells = side // stride
        part = part.unflatten(1, (len(sides), cells, cells))  # (batch, anchors, rows, columns, 5 + classes)
        y, x = torch.meshgrid(*[torch.arange(cells, device=boxes.device)] * 2, indexing="ij")
        centre = (part[..., :2] / stride - torch.stack((x, y), dim=-1) + 0.5) / 2
        extent = (part[..., 2:4] / sides.to(part)[:, None, None]).clamp_min(0).sqrt() / 2
        raw = torch.cat((centre, extent, part[..., 4:]), dim=-1).logit(eps=1e-7)
        maps.append(raw.permute(0, 1, 4, 2, 3).flatten(1, 2))
    return maps


class Decoded(nn.Module):
    """A detector with `decode` as its last step: to be exported to where nobody else decodes.

    It takes letterboxed RGB from 0 to 1, (batch, 3, height, width), and gives one tensor (batch, boxes, 5 + classes).
    Of each box in this order: centre x, centre y, width and height in pixels of that input, not of the picture; the
    objectness; the probability of each class. A detection's score is objectness times probability. All boxes are there:
    `fpgmlab.models.boxes.suppress` leaves the detections, and the letterbox's ``Placement.restore`` brings them back to
    the picture. `fpgmlab.tasks.Detection` judges these outputs as it does the raw maps.

    Parameters
    ----------
    model : nn.Module
        Gives raw maps and has ``anchors`` and ``strides``, as `YOLOv5` does; held, not copied. Where it comes from is
        handed on: see `fpgmlab.provenance`.

    Raises
    ------
    TypeError
        For another kind of network, such as ultralytics', and for what is none.
    """

    _fpgmlab_wraps = "model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        check_model(model, "fl.models.boxes.Decoded(model)")
        if not all(hasattr(model, name) for name in ("anchors", "strides")):
            raise TypeError(
                "model must give raw maps and have anchors and strides, as fpgmlab.models.yolov5 does: Decoded is for "
                f"these; got {type(model).__name__}. Networks of ultralytics' own decode by themselves: export "
                "yolo.model (after yolo.model = small.model, where small is a pruned fl.tasks.UltralyticsMaps)"
            )
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return decode(self.model(x), tensor_of(self.model, "anchors"), cast("Sequence[int]", self.model.strides))

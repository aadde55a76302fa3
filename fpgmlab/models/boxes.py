"""Boxes: raw maps of a detector decoded, duplicates suppressed, pictures letterboxed and boxes mapped back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fpgmlab.modules import device_of, eval_mode

GREY = 114  # what fills the border of a letterboxed picture, as in YOLOv5's training


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
        the order level, anchor, row, column.
    """
    decoded = []
    for raw, sides, stride in zip(maps, anchors.unbind(), strides, strict=True):
        batch, _, rows, columns = raw.shape
        y, x = torch.meshgrid(
            torch.arange(rows, device=raw.device), torch.arange(columns, device=raw.device), indexing="ij"
        )
        cell = torch.stack((x, y), dim=-1)  # (rows, columns, 2)
        # (batch, anchors, rows, columns, 5 + classes)
        s = raw.view(batch, sides.shape[0], -1, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
        centre = (2 * s[..., :2] - 0.5 + cell) * stride
        size = (2 * s[..., 2:4]) ** 2 * sides.to(raw)[:, None, None]
        decoded.append(torch.cat((centre, size, s[..., 4:]), dim=-1).flatten(1, 3))
    return torch.cat(decoded, dim=1)


class Decoded(nn.Module):
    """A detector with `decode` as its last step: to be exported to where nobody else decodes.

    Parameters
    ----------
    model : nn.Module
        Gives raw maps and has ``anchors`` and ``strides``, as `YOLOv5` does; held, not copied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return decode(self.model(x), self.model.anchors, self.model.strides)


def corners(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) of centre x, centre y, width, height as left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def suppress(
    decoded: Tensor,
    confidence: float = 0.25,
    iou: float = 0.45,
    *,
    several: bool = False,
    limit: int = 300,
    candidates: int = 30_000,
) -> list[dict[str, Tensor]]:
    """Return the detections of each picture, strongest first: sure enough, and none on top of another of its class.

    A detection's score is objectness times class probability; with one class it is the objectness, as that class'
    probability is not trained.

    Parameters
    ----------
    decoded : Tensor, (batch, boxes, 5 + classes)
        Of `decode`.
    confidence : float
        Least score: 0.25 for people, 0.001 for mean average precision.
    iou : float
        Of two boxes of one class that overlap more, the weaker one goes: 0.45 for people, 0.6 for mean average
        precision.
    several : bool
        A box may be of several classes (for mean average precision); else only the likeliest counts.
    limit : int
        Most detections of a picture.
    candidates : int
        Most boxes of a picture that are compared, the strongest.

    Returns
    -------
    list of dict
        ``boxes`` (n, 4) as left, top, right, bottom in pixels, ``scores`` (n,), ``labels`` (n,) int64: what
        torchmetrics takes.
    """
    from torchvision.ops import batched_nms

    found = []
    for picture in decoded:
        scores = picture[:, 4:5] * picture[:, 5:] if picture.shape[1] > 6 else picture[:, 4:5]  # (boxes, classes)
        if several:
            index, labels = (scores >= confidence).nonzero(as_tuple=True)
            scores = scores[index, labels]
        else:
            scores, labels = scores.max(dim=1)
            index = (scores >= confidence).nonzero().squeeze(1)
            scores, labels = scores[index], labels[index]
        strongest = scores.argsort(descending=True, stable=True)[:candidates]
        boxes, scores, labels = corners(picture[index[strongest], :4]), scores[strongest], labels[strongest]
        keep = batched_nms(boxes, scores, labels, iou)[:limit]
        found.append({"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]})
    return found


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in its letterboxed version.

    Attributes
    ----------
    width, height : int
        Of the picture, in pixels.
    scale_x, scale_y : float
        Pixels of the letterboxed version for one of the picture.
    left, top : int
        Where the picture begins.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    def place(self, boxes: Tensor) -> Tensor:
        """Return boxes (n, 4) of the picture, left, top, right, bottom, in the letterboxed version."""
        return boxes * self._scales(boxes) + boxes.new_tensor([self.left, self.top] * 2)

    def restore(self, boxes: Tensor) -> Tensor:
        """Return boxes (n, 4) of the letterboxed version in the picture, cut at its edges."""
        boxes = (boxes - boxes.new_tensor([self.left, self.top] * 2)) / self._scales(boxes)
        return boxes.clamp_min(0).minimum(boxes.new_tensor([self.width, self.height] * 2))

    def _scales(self, boxes: Tensor) -> Tensor:
        return boxes.new_tensor([self.scale_x, self.scale_y] * 2)


def letterbox(
    picture: np.ndarray, size: int = 640, *, multiple: int = 32, square: bool = False, enlarge: bool = True
) -> tuple[np.ndarray, Placement]:
    """Scale a picture so that its longer side is ``size``, and fill up with grey to multiples of ``multiple``.

    Parameters
    ----------
    picture : array, (height, width, 3) uint8
        RGB.
    size : int
        Longer side in pixels; a multiple of ``multiple``.
    multiple : int
        Of height and width: the largest stride of the network.
    square : bool
        Fill up to size times size, so that pictures of different shape make a batch.
    enlarge : bool
        Also scale up a picture that is smaller.

    Returns
    -------
    array, (height, width, 3) uint8
    Placement
        Maps boxes there and back.

    Raises
    ------
    ValueError
        For an array of another shape or kind, and for a size that is not a multiple.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(
            f"a picture must be (height, width, 3) uint8, RGB; got {picture.shape} {picture.dtype}. "
            "PIL.Image.open(path).convert('RGB') makes it so."
        )
    if size <= 0 or size % multiple:
        raise ValueError(f"size must be a multiple of {multiple} > 0; got {size}")
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    scale = scale if enlarge else min(scale, 1.0)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
        pixels = F.interpolate(pixels, (new_height, new_width), mode="bilinear", antialias=True)
        picture = pixels[0].permute(1, 2, 0).numpy()
    full = (size, size) if square else tuple(math.ceil(n / multiple) * multiple for n in (new_height, new_width))
    top, left = (full[0] - new_height) // 2, (full[1] - new_width) // 2
    filled = np.full((*full, 3), GREY, np.uint8)
    filled[top : top + new_height, left : left + new_width] = picture
    return filled, Placement(width, height, new_width / width, new_height / height, left, top)


def to_input(pictures: Sequence[np.ndarray]) -> Tensor:
    """Return pictures of one size, (height, width, 3) uint8, as a network's input, (batch, 3, height, width) float."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float() / 255


@torch.no_grad()
def detect(
    model: nn.Module, picture: np.ndarray, size: int = 640, confidence: float = 0.25, iou: float = 0.45
) -> dict[str, Tensor]:
    """Return what a detector finds in one picture.

    Parameters
    ----------
    model : nn.Module
        Gives raw maps and has ``anchors`` and ``strides``, as `YOLOv5` does; left in the mode it is in.
    picture : array, (height, width, 3) uint8
        RGB, of any size.
    size : int
        Longer side in pixels that the network sees.
    confidence, iou : float
        See `suppress`.

    Returns
    -------
    dict
        ``boxes`` (n, 4) in pixels of the picture, ``scores``, ``labels``; on the CPU.
    """
    filled, placement = letterbox(picture, size, multiple=max(model.strides))
    with eval_mode(model):
        maps = model(to_input([filled]).to(device_of(model)))
    (found,) = suppress(decode(maps, model.anchors, model.strides), confidence, iou)
    return {"boxes": placement.restore(found["boxes"].cpu())} | {k: found[k].cpu() for k in ("scores", "labels")}

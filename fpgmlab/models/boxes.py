"""Boxes: raw maps of a detector decoded, duplicates suppressed, boxes mapped back to the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.modules import device_of, eval_mode, tensor_of
from fpgmlab.models.letterbox import letterbox


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
        return decode(self.model(x), tensor_of(self.model, "anchors"), cast("Sequence[int]", self.model.strides))


def corners(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) of centre x, centre y, width, height as left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def suppress(
    decoded: Tensor | Sequence[Tensor],
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
    decoded : Tensor, (batch, boxes, 5 + classes), or sequence of Tensor, (boxes, 5 + classes)
        Of `decode` or `decode_sure`.
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

    Raises
    ------
    ValueError
        For boxes of another shape, and a confidence or overlap that is not from 0 to 1.

    Notes
    -----
    Boxes with numbers that are infinite or none are no detections.
    """
    shapes = [tuple(picture.shape) for picture in decoded]
    if any(len(shape) != 2 or shape[1] < 6 for shape in shapes):
        got = tuple(decoded.shape) if isinstance(decoded, Tensor) else shapes
        raise ValueError(f"decoded must be (batch, boxes, 5 + classes), of decode; got {got}")
    for name, value in (("confidence", confidence), ("iou", iou)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1; got {value!r}")
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
        strongest = strongest[picture[index[strongest], :4].isfinite().all(dim=1)]
        boxes, scores, labels = corners(picture[index[strongest], :4]), scores[strongest], labels[strongest]
        keep = _kept(boxes, scores, labels, iou, limit)
        found.append({"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]})
    return found


def _kept(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, limit: int) -> Tensor:
    """Return which boxes stay, the first ``limit`` of them; ``scores`` are descending.

    Whether a box stays depends on stronger ones only. So the strongest few are looked at, and more while too few stay:
    the work grows with their square.
    """
    from torchvision.ops import nms

    # One run over all classes, each moved to where no other is: far away, so in double precision where there is one.
    exact = torch.float32 if boxes.device.type == "mps" else torch.float64
    boxes, scores = boxes.to(exact), scores.to(exact)
    if len(boxes):
        boxes = boxes + (labels * (boxes.max() - boxes.min() + 1))[:, None]
    count = 2 * limit
    while True:
        keep = nms(boxes[:count], scores[:count], iou)[:limit]
        if len(keep) == limit or count >= len(boxes):
            return keep
        count *= 2


def clipped(found: Sequence[Mapping[str, Tensor]], height: int, width: int) -> list[dict[str, Tensor]]:
    """Return detections cut at the edges of the input, as labelled boxes are; without those outside of it."""
    inside = []
    for one in found:
        boxes = one["boxes"].clamp_min(0).minimum(one["boxes"].new_tensor((width, height, width, height)))
        there = (boxes[:, 2:] > boxes[:, :2]).all(1)
        inside.append({name: values[there] for name, values in {**one, "boxes": boxes}.items()})
    return inside


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
        RGB, of any size, upright (``PIL.ImageOps.exif_transpose``).
    size : int
        Longer side in pixels that the network sees.
    confidence, iou : float
        See `suppress`.

    Returns
    -------
    dict
        ``boxes`` (n, 4) in pixels of the picture, ``scores``, ``labels``; on the CPU.

    Raises
    ------
    TypeError
        For another kind of network.
    ValueError
        See `letterbox` and `suppress`; and when the network gives numbers that are none.
    """
    if not all(hasattr(model, name) for name in ("anchors", "strides")):
        raise TypeError(
            f"model must give raw maps and have anchors and strides, as fpgmlab.models.yolov5; got "
            f"{type(model).__name__}"
        )
    anchors, strides = tensor_of(model, "anchors"), cast("Sequence[int]", model.strides)
    filled, placement = letterbox(picture, size, multiple=max(strides))
    with eval_mode(model):
        maps = model(to_input([filled]).to(device_of(model)))
    if not all(bool(level.isfinite().all()) for level in maps):
        raise ValueError(
            f"{type(model).__name__} gives numbers that are infinite or none (NaN) for this picture: its weights are "
            "broken. Load it again, or go back to before the training that did it."
        )
    (found,) = suppress(decode(maps, anchors, strides), confidence, iou)
    return {"boxes": placement.restore(found["boxes"].cpu())} | {k: found[k].cpu() for k in ("scores", "labels")}

"""Boxes: duplicates suppressed, boxes mapped back to the picture; `decode`, `Decoded` and `letterbox` are here, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.modules import device_of, eval_mode, tensor_of
from fpgmlab.models.decoding import Decoded, decode, decode_sure
from fpgmlab.models.letterbox import letterbox

__all__ = [
    "Decoded",
    "clipped",
    "corners",
    "decode",
    "decode_sure",
    "detect",
    "letterbox",
    "suppress",
    "to_input",
]


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

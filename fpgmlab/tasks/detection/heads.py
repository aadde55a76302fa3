"""What a family of detectors knows of its own outputs: their loss, and the detections that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fpgmlab.models.boxes import clipped, decode_sure, suppress
from fpgmlab.models.yolov5.blocks import ANCHORS, STRIDES
from fpgmlab.models.yolov5.imitation import yolov5_imitation
from fpgmlab.models.yolov5.loss import LossOptions, yolov5_loss

WEIGHTS = LossOptions()


class Head(Protocol):
    """The part of a detection task that differs between families of detectors.

    Attributes
    ----------
    stride : int
        The side of the square of pixels that pictures must be a multiple of.
    """

    stride: int

    def loss(self, outputs: object, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar with a gradient.

        Parameters
        ----------
        outputs : object
            What the network gives for (batch, 3, size, size), in training mode or not.
        targets : Tensor, (batch, boxes, 5)
            Label, left, top, right, bottom in pixels; with label -1 where there is no box.
        """

    def detections(self, outputs: object, confidence: float) -> list[dict[str, Tensor]]:
        """Return for each picture its detections of at least a confidence, after non-maximum suppression.

        Each has ``boxes`` (count, 4) as left, top, right, bottom in pixels, ``scores`` (count,) and ``labels``
        (count,) int64.
        """


@dataclass(frozen=True)
class YOLOv5Head:
    """The head of `fpgmlab.models.YOLOv5`; its outputs are the raw maps of its levels.

    Parameters
    ----------
    anchors : tuple, (levels, anchors, 2)
        Width and height in pixels; COCO's when left out. A network with others: ``YOLOv5Head.of(model)``.
    strides : tuple of int
        Pixels from cell to cell, by level.
    iou : float
        Of two boxes of one class that overlap more, the weaker one goes.
    candidates : int
        Most boxes of a picture that are compared, the surest: an untrained or broken network is never sure of few.
    options : LossOptions
        Weights of the loss; as many for levels as the network has.
    """

    anchors: tuple[tuple[tuple[float, float], ...], ...] = ANCHORS
    strides: tuple[int, ...] = STRIDES
    iou: float = 0.6
    candidates: int = 3000
    options: LossOptions = WEIGHTS

    @classmethod
    def of(cls, model: nn.Module) -> YOLOv5Head:
        """Return the head of a network, with its own anchors and strides."""
        anchors = tuple(tuple((w, h) for w, h in level) for level in model.anchors.tolist())
        return cls(anchors, tuple(model.strides))

    @property
    def stride(self) -> int:
        """The largest stride."""
        return max(self.strides)

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return `fpgmlab.models.yolov5.loss` of a batch, a scalar."""
        height, width = (outputs[0].shape[axis] * self.strides[0] for axis in (2, 3))
        rows = target_rows(targets)  # (objects, 6)
        rows[:, 2:] /= rows.new_tensor([width, height, width, height])
        return yolov5_loss(outputs, rows, self._anchors(outputs[0]), self.strides, self.options).total

    def imitation(self, outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Return how far outputs are from a teacher's, a scalar; see `fpgmlab.models.yolov5.imitation`.

        For ``fl.Distill(teacher, compare=task.head.imitation)``.
        """
        return yolov5_imitation(outputs, wanted, self._anchors(outputs[0]), self.strides, self.options)

    def detections(self, outputs: Sequence[Tensor], confidence: float) -> list[dict[str, Tensor]]:
        """Return what `fpgmlab.models.boxes.suppress` leaves, within the input; a box possibly of several classes."""
        decoded = decode_sure(outputs, self._anchors(outputs[0]), self.strides, confidence)
        found = suppress(decoded, confidence, self.iou, several=True, candidates=self.candidates)
        return clipped(found, *(side * self.strides[0] for side in outputs[0].shape[2:]))

    def _anchors(self, like: Tensor) -> Tensor:
        return torch.tensor(self.anchors, device=like.device, dtype=torch.float32)


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

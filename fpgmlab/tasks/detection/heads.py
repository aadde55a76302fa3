"""What a family of detectors knows of its own outputs: their loss, and the detections that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from fpgmlab.models.boxes import clipped, decode_sure, suppress
from fpgmlab.models.decoding import encode, sides_of
from fpgmlab.models.yolov5.blocks import ANCHORS, STRIDES
from fpgmlab.models.yolov5.imitation import yolov5_imitation
from fpgmlab.models.yolov5.loss import LossOptions, yolov5_loss
from fpgmlab.tasks.detection.crowded import KEPT, compared

WEIGHTS = LossOptions()
ROUNDED = 0.01  # by so much, relatively, a network in half precision may have rounded its anchors


class Head(Protocol):
    """The part of a detection task that differs between families of detectors.

    Outputs are what the network gives for (batch, 3, size, size), in training mode or not. A head may also tell for
    which classes a network was made: by an attribute ``classes``, their number, or as `TellsClasses`; how to get one
    for others: by ``cure(count, classes)``; and whether it is for a network: by ``check_network(model)``.
    """

    @property
    def stride(self) -> int:
        """The side of the square of pixels that pictures must be a multiple of."""

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar with a gradient.

        Parameters
        ----------
        outputs : object
        targets : Tensor, (batch, boxes, 5)
            Label, left, top, right, bottom in pixels; with label -1 where there is no box.
        """

    def detections(self, outputs: Any, confidence: float, limit: int = KEPT) -> list[dict[str, Tensor]]:
        """Return for each picture its detections of at least a confidence, after non-maximum suppression.

        Each has ``boxes`` (count, 4) as left, top, right, bottom in pixels, ``scores`` (count,) and ``labels``
        (count,) int64. They are the ``limit`` surest; a task says how many only when more than 100 of a class count.
        """


@runtime_checkable
class TellsClasses(Protocol):
    """A head that sees in the outputs for how many classes a network was made."""

    def classes_in(self, outputs: object) -> int:
        """Return for how many classes; a `TypeError` when the outputs are not those of such a head."""

    def cure(self, count: int, classes: str) -> str:
        """Return in words how to get a network for other classes: ``count`` of them, ``classes`` as a list in text."""


@dataclass(frozen=True)
class YOLOv5Head:
    """The head of `fpgmlab.models.YOLOv5`; its outputs are the raw maps of its levels.

    Of square inputs it also takes the boxes of `fpgmlab.models.boxes.Decoded`, as an exported file may give them.

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
        More in proportion where a task asks for more than 300 detections.
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
        """Return the head of a model, with its own anchors and strides.

        Raises
        ------
        TypeError
            When it has none.
        """
        anchors, strides = (getattr(model, name, None) for name in ("anchors", "strides"))
        if not isinstance(anchors, Tensor) or not isinstance(strides, Sequence):
            raise TypeError(
                f"model must have anchors and strides, as fpgmlab.models.yolov5 has; got {type(model).__name__}"
            )
        return cls(tuple(tuple((w, h) for w, h in level) for level in anchors.tolist()), tuple(strides))

    @property
    def stride(self) -> int:
        """The largest stride."""
        return max(self.strides)

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return `fpgmlab.models.yolov5.loss` of outputs, raw maps, and targets (batch, boxes, 5), a scalar."""
        outputs = self._maps(outputs)
        height, width = (outputs[0].shape[axis] * self.strides[0] for axis in (2, 3))
        rows = target_rows(targets)  # (objects, 6)
        rows[:, 2:] /= rows.new_tensor([width, height, width, height])
        return yolov5_loss(outputs, rows, self._anchors(outputs[0]), self.strides, self.options).total

    def imitation(self, outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Return how far outputs are from those wanted, a teacher's, a scalar; see `fpgmlab.models.yolov5.imitation`.

        For ``fl.Distill(teacher, compare=task.head.imitation)``.
        """
        outputs, wanted = self._maps(outputs), self._maps(wanted)
        return yolov5_imitation(outputs, wanted, self._anchors(outputs[0]), self.strides, self.options)

    def detections(self, outputs: Sequence[Tensor], confidence: float, limit: int = KEPT) -> list[dict[str, Tensor]]:
        """Return what `fpgmlab.models.boxes.suppress` leaves, within the input; a box possibly of several classes.

        Parameters
        ----------
        outputs : sequence of Tensor, or Tensor
            The raw maps, (batch, anchors * (5 + classes), rows, columns) each; or decoded boxes (batch, boxes, 5 +
            classes) of a square input.
        confidence : float
            Of the weakest that count, 0 to 1.
        limit : int
            Most detections of a picture.

        Returns
        -------
        list of dict
            For each picture ``boxes`` (count, 4), left, top, right, bottom in pixels; ``scores``, ``labels`` (count,).

        Raises
        ------
        ValueError
            For a confidence that is not from 0 to 1.
        """
        if isinstance(outputs, Tensor) and (side := self._side(outputs)) is not None:
            decoded = [boxes[boxes[:, 4] >= confidence] for boxes in outputs.float()]
            height, width = side, side
        else:
            decoded = decode_sure(outputs, self._anchors(outputs[0]), self.strides, confidence)
            height, width = (cells * self.strides[0] for cells in outputs[0].shape[2:])
        candidates = compared(self.candidates, limit)
        found = suppress(decoded, confidence, self.iou, several=True, limit=limit, candidates=candidates)
        return clipped(found, height, width)

    def classes_in(self, outputs: object) -> int:
        """Return for how many classes a network with such outputs was made; a `TypeError` when they are no raw maps."""
        if isinstance(outputs, Tensor) and self._side(outputs) is not None:
            return outputs.shape[2] - 5
        maps = outputs if isinstance(outputs, (tuple, list)) and all(isinstance(m, Tensor) for m in outputs) else ()
        anchors = len(self.anchors[0])
        fits = len(maps) == len(self.strides) and all(m.ndim == 4 and m.shape[1] % anchors == 0 for m in maps)
        if not fits or maps[0].shape[1] < 6 * anchors:
            one = getattr(outputs, "shape", type(outputs).__name__)
            found = str([tuple(m.shape) for m in maps]) if maps else str(one)
            raise TypeError(
                f"the network gives {found}; expected for each of {len(self.strides)} levels a raw map (batch, "
                f"{anchors} * (5 + classes), rows, columns), as fpgmlab.models.yolov5 does, or boxes as fpgmlab.models."
                "boxes.Decoded gives. Other networks need another head: see fpgmlab.tasks.Detection"
            )
        return maps[0].shape[1] // anchors - 5

    def cure(self, count: int, classes: str) -> str:
        """Return in words how to get a network for other classes: ``count`` of them, ``classes`` as a list in text."""
        return f"load it with those of the task, as by fpgmlab.models.yolov5(weights=..., classes={classes})"

    def check_network(self, model: nn.Module) -> None:
        """Look at the anchors and strides of a model; one that has none passes.

        Raises
        ------
        ValueError
            For others than the head's.
        """
        anchors, strides = (getattr(model, name, None) for name in ("anchors", "strides"))
        if not isinstance(anchors, Tensor) or not isinstance(strides, Sequence):
            return
        own, theirs = torch.tensor(self.anchors, dtype=torch.float32), anchors.detach().float().cpu()
        same = own.shape == theirs.shape and torch.allclose(own, theirs, rtol=ROUNDED)
        if not same or tuple(strides) != self.strides:
            raise ValueError(
                f"the network's anchors are {_shown(theirs)} for strides {tuple(strides)}, those of the task's head "
                f"{_shown(own)} for {self.strides}: boxes would have wrong sizes. Make the task with the network's: "
                "fl.tasks.Detection(..., head=fl.tasks.YOLOv5Head.of(model))"
            )

    def _side(self, outputs: Tensor) -> int | None:
        """Return the side of the square input that outputs are the decoded boxes of; None for other outputs."""
        decoded = outputs.ndim == 3 and outputs.shape[2] > 5
        return sides_of(outputs.shape[1], len(self.anchors[0]), self.strides) if decoded else None

    def _maps(self, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return outputs as raw maps, those of a network that decodes as well."""
        if isinstance(outputs, Tensor) and (side := self._side(outputs)) is not None:
            return encode(outputs, self._anchors(outputs), self.strides, side)
        return outputs

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


def _shown(anchors: Tensor) -> str:
    """Return the first anchors in words."""
    return f"({', '.join(f'{w:.3g} x {h:.3g}' for w, h in anchors.flatten(0, -2).tolist()[:3])}, ...)"

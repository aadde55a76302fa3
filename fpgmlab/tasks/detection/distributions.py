"""Detectors without anchors that give each side of a box as a distribution over distances: YOLOv8 and later, PP-YOLOE.

Their heads say for each cell, as logits, how far the four sides are from its centre, in 0, 1, 2, ... cells, and the
classes (Li et al., *Generalized Focal Loss*, NeurIPS 2020, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fpgmlab.models.boxes import clipped, suppress
from fpgmlab.tasks.detection.crowded import KEPT, compared

Maps = tuple[Tensor, ...]  # raw maps by level, each (batch, 4 * distances + classes, rows, columns)


def decode_distances(maps: Sequence[Tensor], strides: Sequence[int], classes: int) -> Tensor:
    """Return the boxes of all cells.

    A side is as far from the cell's centre as its distribution says in the mean; with one number for each side, this is
    the distance itself.

    Parameters
    ----------
    maps : sequence of Tensor, (batch, 4 * distances + classes, rows, columns)
        Raw maps by level: left, top, right, bottom, with the logits of each one's distances in a row; then the classes.
    strides : sequence of int
        Pixels from cell to cell, by level.
    classes : int

    Returns
    -------
    Tensor, (batch, boxes, 5 + classes)
        As of `fpgmlab.models.boxes.decode`: centre x, centre y, width and height in pixels; the objectness, which is 1,
        or with one class this class' probability; class probabilities.
    """
    decoded = []
    for raw, stride in zip(maps, strides, strict=True):
        batch, channels, rows, columns = raw.shape
        sides = raw[:, : channels - classes].float().view(batch, 4, -1, rows, columns)
        if sides.shape[2] > 1:
            distances = torch.arange(sides.shape[2], device=raw.device).view(-1, 1, 1)
            sides = (sides.softmax(2) * distances).sum(2, keepdim=True)
        left, top, right, bottom = sides.squeeze(2).unbind(1)  # (batch, rows, columns)
        y, x = (torch.arange(n, device=raw.device) + 0.5 for n in (rows, columns))
        centre = (x + (right - left) / 2, y[:, None] + (bottom - top) / 2)
        boxes = torch.stack((*centre, left + right, top + bottom), dim=1) * stride
        probabilities = raw[:, channels - classes :].float().sigmoid()
        objectness = probabilities if classes == 1 else torch.ones_like(probabilities[:, :1])
        decoded.append(torch.cat((boxes, objectness, probabilities), dim=1).flatten(2).mT)
    return torch.cat(decoded, dim=1)


class DistributionHead:
    """What the heads of such detectors share; each is a frozen dataclass with these fields, and has its own loss.

    Attributes
    ----------
    classes : int
    strides : tuple of int
        Pixels from cell to cell, by level.
    iou : float
        Of two boxes of one class that overlap more, the weaker one goes.
    candidates : int
        Most boxes of a picture that are compared, the surest; more in proportion for a ``limit`` of more than 300.
    wrapper : str
        The class in `fpgmlab.tasks` that makes a network give its raw maps.
    most_branches : int
        How many branches a network's head may have.
    """

    classes: int
    strides: tuple[int, ...]
    iou: float
    candidates: int
    wrapper: ClassVar[str]
    most_branches: ClassVar[int] = 1

    @property
    def stride(self) -> int:
        """The largest stride."""
        return max(self.strides)

    def detections(self, outputs: Maps, confidence: float, limit: int = KEPT) -> list[dict[str, Tensor]]:
        """Return what `fpgmlab.models.boxes.suppress` leaves, within the input; a box may be of several classes.

        Parameters
        ----------
        outputs : tuple of Tensor
            The raw maps, (batch, 4 * distances + classes, rows, columns) each.
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
        maps = self._detecting(self._branches(outputs))
        decoded = decode_distances(maps, self.strides, self.classes)
        candidates = compared(self.candidates, limit)
        found = suppress(decoded, confidence, self.iou, several=True, limit=limit, candidates=candidates)
        return clipped(found, *(side * self.strides[0] for side in maps[0].shape[2:]))

    def _detecting(self, branches: tuple[Maps, ...]) -> Maps:
        """Return the maps of the branch that detects."""
        return branches[0]

    def _branches(self, outputs: Maps) -> tuple[Maps, ...]:
        return checked_maps(outputs, len(self.strides), self.most_branches, self.wrapper)


def checked_maps(outputs: object, levels: int, branches: int, wrapper: str) -> tuple[Maps, ...]:
    """Return a network's outputs as the raw maps of each of at most so many branches of its head, (levels,) each.

    Raises
    ------
    TypeError
        When they are something else, as those of a network that is not in its wrapper.
    """
    maps = outputs if isinstance(outputs, tuple) else ()
    if not all(isinstance(raw, Tensor) and raw.ndim == 4 for raw in maps) or len(maps) not in [
        levels * n for n in range(1, branches + 1)
    ]:
        found = ", ".join(str(getattr(one, "shape", type(one).__name__)) for one in maps) or type(outputs).__name__
        raise TypeError(
            f"outputs must be the raw maps of {levels} levels, (batch, channels, rows, columns); got {found}. "
            f"Use fl.tasks.{wrapper}(network) in place of the network; of a file, export that."
        )
    return tuple(maps[start : start + levels] for start in range(0, len(maps), levels))

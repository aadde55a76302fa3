"""The training loss of YOLOv5 (Jocher et al., 2020): which anchors answer for an object, and how far they are off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from fpgmlab.models.boxes import corners


@dataclass(frozen=True)
class LossOptions:
    """Weights and thresholds of the loss; the defaults are those of YOLOv5's training from scratch.

    Attributes
    ----------
    box, objectness, classes : float
        Weights of the three terms, for three levels, 80 classes and inputs of 640 x 640 pixels; see `scaled`.
    levels : tuple of float
        Weights of the levels' objectness, finest first.
    ratio : float
        An object belongs to the anchors whose sides are less than so many times longer or shorter.
    """

    box: float = 0.05
    objectness: float = 1.0
    classes: float = 0.5
    levels: tuple[float, ...] = (4.0, 1.0, 0.4)
    ratio: float = 4.0

    def scaled(self, maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> LossOptions:
        """Return the weights for other networks and inputs, scaled as in YOLOv5's training.

        All three with the number of levels, as the terms are summed over them; that of objectness also with the area
        of the input, and that of classes with their number.

        Parameters
        ----------
        maps, anchors, strides
            As in `yolov5_loss`.
        """
        rows, columns = maps[0].shape[2:]
        even = 3 / len(maps)
        return replace(
            self,
            box=self.box * even,
            objectness=self.objectness * even * rows * columns * strides[0] ** 2 / 640**2,
            classes=self.classes * even * (maps[0].shape[1] // anchors.shape[1] - 5) / 80,
        )


@dataclass(frozen=True, eq=False)
class YOLOv5Loss:
    """The loss and its three terms, weighted; scalars, means over the batch (YOLOv5 multiplies them by its size)."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


@dataclass(frozen=True, eq=False)
class Matches:
    """Anchors that answer for an object, on one level: n pairs.

    Attributes
    ----------
    image, anchor, row, column : Tensor, (n,) int64
        Where the anchor is.
    label : Tensor, (n,) int64
        Class of the object.
    box : Tensor, (n, 4)
        The object in cells: its centre from the cell's corner, width, height.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    label: Tensor
    box: Tensor


def yolov5_loss(
    maps: Sequence[Tensor],
    targets: Tensor,
    anchors: Tensor,
    strides: Sequence[int],
    options: LossOptions = LossOptions(),
) -> YOLOv5Loss:
    """Return the loss of raw maps against the objects of a batch.

    Three terms, each a mean over a level, summed over levels: ``1 - CIoU`` of matched anchors; binary cross-entropy of
    the objectness of all anchors, whose target is the CIoU of the predicted box with its object, or 0 where none is;
    binary cross-entropy of the classes of matched anchors, 0 for a single class, which there is nothing to learn of.

    Parameters
    ----------
    maps : sequence of Tensor, (batch, anchors * (5 + classes), rows, columns)
        Raw maps, by level.
    targets : Tensor, (objects, 6)
        Number of the picture in the batch, class, centre x, centre y, width, height; the last four as parts of the
        picture's width and height, in [0, 1]. May be empty.
    anchors : Tensor, (levels, anchors, 2)
        In pixels.
    strides : sequence of int
        Pixels from cell to cell, by level.
    options : LossOptions

    Raises
    ------
    ValueError
        For targets of another shape, or with a picture, class or side that does not exist.
    """
    classes = maps[0].shape[1] // anchors.shape[1] - 5
    _check_targets(targets, len(maps[0]), classes)
    targets, options = targets.to(maps[0].device), options.scaled(maps, anchors, strides)
    zero = torch.zeros((), device=maps[0].device)
    box = objectness = class_term = zero
    for raw, sides, stride, weight in zip(maps, anchors, strides, options.levels, strict=True):
        batch, _, rows, columns = raw.shape
        said = raw.float().view(batch, len(sides), -1, rows, columns)  # (batch, anchors, 5 + classes, rows, columns)
        sides = sides.to(said) / stride  # in cells
        wanted = torch.zeros_like(said[:, :, 4], memory_format=torch.contiguous_format)  # maps may be channels-last
        matches = match(targets, sides, rows, columns, options.ratio)
        if len(matches.label):
            place = (matches.image, matches.anchor, matches.row, matches.column)
            found = said.permute(0, 1, 3, 4, 2)[place]  # (n, 5 + classes)
            s = found[:, :4].sigmoid()
            predicted = torch.cat((2 * s[:, :2] - 0.5, (2 * s[:, 2:]) ** 2 * sides[matches.anchor]), dim=1)
            ciou = box_ious(predicted, matches.box)[1]
            box = box + (1 - ciou).mean()
            # Of several objects in one anchor the best fitting one counts, so that their order does not.
            flat = wanted.view(-1)
            index = torch.arange(flat.numel(), device=flat.device).view_as(wanted)[place]
            flat.scatter_reduce_(0, index, ciou.detach(), "amax")  # at least the 0 that is there
            if classes > 1:
                is_class = F.one_hot(matches.label, classes).to(found)
                class_term = class_term + F.binary_cross_entropy_with_logits(found[:, 5:], is_class)
        objectness = objectness + weight * F.binary_cross_entropy_with_logits(said[:, :, 4], wanted)
    terms = options.box * box, options.objectness * objectness, options.classes * class_term
    return YOLOv5Loss(sum(terms, zero), *terms)


def match(targets: Tensor, sides: Tensor, rows: int, columns: int, ratio: float = 4.0) -> Matches:
    """Return which anchors of a level answer for which objects.

    An object belongs to the anchors of similar sides, in the cell of its centre and in the nearest cell beside and the
    nearest above or below it (those that exist): a centre can lie half a cell outside of a cell.

    Parameters
    ----------
    targets : Tensor, (objects, 6)
        As in `yolov5_loss`.
    sides : Tensor, (anchors, 2)
        In cells.
    rows, columns : int
        Of the level's map.
    ratio : float
        Bound on the ratio of sides, either way.
    """
    objects = targets[:, 2:] * targets.new_tensor([columns, rows, columns, rows])  # in cells
    quotient = objects[:, None, 2:] / sides  # (objects, anchors, 2)
    similar = torch.maximum(quotient, 1 / quotient).amax(dim=2) < ratio
    number, anchor = similar.nonzero(as_tuple=True)
    centre = objects[number, :2]  # (pairs, 2)
    last = targets.new_tensor([columns - 1, rows - 1])
    own = centre.floor().clamp_min(0).minimum(last)  # a centre on the right edge belongs to the last cell
    step = torch.where(centre - own < 0.5, -1.0, 1.0)  # to the nearest neighbour, by axis
    offsets = torch.stack((torch.zeros_like(step), step * step.new_tensor([1, 0]), step * step.new_tensor([0, 1])))
    cells = own + offsets  # (3, pairs, 2)
    inside = ((cells >= 0) & (cells <= last)).all(dim=2)  # (3, pairs)
    cell, pair = cells[inside], inside.nonzero(as_tuple=True)[1]
    number, anchor = number[pair], anchor[pair]
    box = torch.cat((objects[number, :2] - cell, objects[number, 2:]), dim=1)
    image, label = targets[number, :2].long().unbind(1)
    return Matches(image, anchor, cell[:, 1].long(), cell[:, 0].long(), label, box)


def box_ious(a: Tensor, b: Tensor, eps: float = 1e-7) -> tuple[Tensor, Tensor]:
    """Return IoU and complete IoU of pairs of boxes (n, 4), centre x, centre y, width, height.

    CIoU is IoU less the squared distance of the centres over the squared diagonal of the box around both, less a term
    for different shapes (Zheng et al., "Distance-IoU Loss", AAAI 2020, equations 7 and 9 to 11; its weight is held
    constant for the gradient, as there).
    """
    first, second = corners(a), corners(b)
    overlap = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    shared = overlap.clamp_min(0).prod(dim=1)
    iou = shared / (a[:, 2:].prod(dim=1) + b[:, 2:].prod(dim=1) - shared + eps)
    around = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    distance = (a[:, :2] - b[:, :2]).pow(2).sum(dim=1) / (around.pow(2).sum(dim=1) + eps)
    angles = torch.atan(a[:, 2] / (a[:, 3] + eps)) - torch.atan(b[:, 2] / (b[:, 3] + eps))
    shape = 4 / math.pi**2 * angles.pow(2)
    weight = (shape / (1 - iou + shape + eps)).detach()
    return iou, iou - distance - weight * shape


def _check_targets(targets: Tensor, batch: int, classes: int) -> None:
    if targets.ndim != 2 or targets.shape[1] != 6:
        raise ValueError(
            f"targets must be (objects, 6): picture, class, centre x and y, width, height; got {tuple(targets.shape)}"
        )
    for column, name, count in ((0, "picture", batch), (1, "class", classes)):
        wrong = (targets[:, column] < 0) | (targets[:, column] >= count)
        if bool(wrong.any()):
            raise ValueError(f"targets name {name} {targets[wrong, column][0]:g}; there are {count}, from 0")
    if not bool((targets[:, 4:] > 0).all()):
        raise ValueError("targets have a box without width or height; leave such boxes out")

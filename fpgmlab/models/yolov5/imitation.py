"""How far a YOLOv5 is from another one with the same output shapes: what distillation lowers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fpgmlab.models.yolov5.loss import LossOptions, box_ious


def yolov5_imitation(
    maps: Sequence[Tensor],
    wanted: Sequence[Tensor],
    anchors: Tensor,
    strides: Sequence[int],
    options: LossOptions,
) -> Tensor:
    """Return the objectness-scaled distance of raw maps to a teacher's, in float32; 0 for the same maps.

    Boxes and classes count as much as the teacher is sure of an object, else its many background boxes would drown the
    others; objectness counts everywhere (Mehta & Ozturk, *Object Detection at 200 Frames Per Second*, 2018,
    arXiv:1805.06361, "Objectness scaled distillation"). The distances are those of YOLOv5's own loss with the teacher's
    answers for targets, less what no student can avoid: KL divergences of objectness and of each class (cross-entropies
    less the teacher's entropies), and what the CIoU of the boxes of the same anchor lacks. So are the weights of terms
    and levels, scaled as there. As in the paper, boxes and classes are means: over a level's anchors, each weighted
    with the teacher's objectness, and divided by at least 1, so that a level where it sees nothing asks for nothing.
    The class of a detector of a single one is not compared: it is not trained.

    Parameters
    ----------
    maps, wanted : sequence of Tensor, (batch, anchors * (5 + classes), rows, columns)
        Raw maps of the student and of the teacher, by level. No gradient reaches the teacher's.
    anchors : Tensor, (levels, anchors, 2)
        In pixels.
    strides : sequence of int
        Pixels from cell to cell, by level.
    options : LossOptions
        Weights of the terms.

    Returns
    -------
    Tensor
        A scalar, in the unit of `fpgmlab.models.yolov5.loss.yolov5_loss`.

    Raises
    ------
    ValueError
        For maps of other levels or shapes than the teacher's, or that are not those of the anchors.
    """
    _check(maps, wanted, anchors)
    options = options.scaled(maps, anchors, strides)
    total = torch.zeros((), device=maps[0].device)
    for raw, goal, sides, stride, weight in zip(maps, wanted, anchors, strides, options.levels, strict=True):
        said, meant = _rows(raw, len(sides)), _rows(goal.detach(), len(sides))  # (batch, rows, columns, anchors, 5 + n)
        sides = sides.to(said) / stride  # in cells
        sure = meant[..., 4].sigmoid()
        box, goal_box = _boxes(said, sides), _boxes(meant, sides)
        # Of a tiny box with itself it is not quite 1.
        lost = (box_ious(goal_box, goal_box)[1] - box_ious(box, goal_box)[1]).view_as(sure)
        total = total + options.objectness * weight * _divergence(said[..., 4], meant[..., 4]).mean()
        total = total + options.box * _mean(lost, sure)
        if said.shape[-1] > 6:
            total = total + options.classes * _mean(_divergence(said[..., 5:], meant[..., 5:]).mean(-1), sure)
    return total


def _rows(raw: Tensor, anchors: int) -> Tensor:
    """Return a level's raw map as float32 numbers of each anchor, (batch, rows, columns, anchors, 5 + classes)."""
    return raw.float().permute(0, 2, 3, 1).unflatten(-1, (anchors, -1))


def _boxes(rows: Tensor, sides: Tensor) -> Tensor:
    """Return the boxes of all anchors, (n, 4), in cells from their own cell."""
    s = rows[..., :4].sigmoid()
    return torch.cat((2 * s[..., :2] - 0.5, (2 * s[..., 2:]) ** 2 * sides), dim=-1).flatten(0, -2)


def _divergence(said: Tensor, meant: Tensor) -> Tensor:
    """Return KL(meant || said) of yes and no, from logits, elementwise and in nats."""
    goal = meant.sigmoid()
    return F.binary_cross_entropy_with_logits(said, goal, reduction="none") - F.binary_cross_entropy_with_logits(
        meant, goal, reduction="none"
    )


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1)


def _check(maps: Sequence[Tensor], wanted: Sequence[Tensor], anchors: Tensor) -> None:
    shapes = [[tuple(level.shape) for level in levels] for levels in (maps, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the teacher's maps must have the shapes of the student's, level by level; the student gives {shapes[0]}, "
            f"the teacher {shapes[1]}"
        )
    each = anchors.shape[1]
    if len(maps) != len(anchors) or any(len(s) != 4 or s[1] % each or s[1] < 6 * each for s in shapes[0]):
        raise ValueError(
            f"maps must be (batch, {each} * (5 + classes), rows, columns), one for each of {len(anchors)} levels; "
            f"got {shapes[0]}"
        )

"""What detectors find in pictures: right, wrong and missed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType
from torch import Tensor

from fpgmlab.figures.parts import text_width
from fpgmlab.figures.style import ORANGE, RED, SKY, Style, new_figure, small
from fpgmlab.tasks.detection.outcomes import in_crowds, outcomes

Detections = Sequence[Mapping[str, Tensor]]
ROW = 3  # pictures of a single network in a row
LOOKS: dict[str, tuple[str, LineStyleType]] = {
    "right": (SKY, "-"),
    "wrong": (ORANGE, (0, (1, 0.8))),
    "missed": (RED, (0, (2, 1.5))),
}


def detections(
    images: Tensor,
    found: Mapping[str, Detections],
    wanted: Tensor | None = None,
    names: Sequence[str] | None = None,
    *,
    style: Style | None = None,
) -> Figure:
    """Show what networks detect, a column for each network and a row for each picture; one network's in rows of three.

    With labels, detections that are right, wrong ones and missed boxes have colours of their own. As in COCO's
    evaluation the strongest detection takes the labelled box of its class that it overlaps most, from an intersection
    over union of 0.5, and each box is found once.

    Parameters
    ----------
    images : Tensor, (n, 3, height, width)
        RGB, 0 to 1, as a detection task's batches have them.
    found : mapping of str to sequence of dict
        By network, for each picture: ``boxes`` (count, 4) as left, top, right, bottom in pixels, ``scores`` and
        ``labels``; of ``task.head.detections(model(images), 0.25)``.
    wanted : Tensor, (n, boxes, 5), optional
        Label, left, top, right, bottom; label -1 for none, -2 - c for a crowd of class c, in which detections of it
        are left out: a batch's targets.
    names : sequence of str, optional
        Of the classes, written at the boxes; leave out for a single class.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For images of another shape, no network, or other numbers of pictures.
    """
    _check(images, found, wanted)
    count = len(images)
    columns = len(found) if len(found) > 1 else min(count, ROW)
    lines = count if len(found) > 1 else math.ceil(count / columns)
    shape = images.shape[2] / images.shape[3]
    legend = 0 if wanted is None else 1

    def height(width: float, text: float) -> float:
        return lines * (shape * width / columns + 2.0 * text) + (2.5 + 2.2 * legend) * text

    with new_figure(3.2 * columns, height, style) as figure:
        grid = figure.subplots(lines, columns, squeeze=False)
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        for axis in grid.ravel():
            axis.set_axis_off()
        for column, (network, pictures) in enumerate(found.items()):
            axes = grid[:, column] if len(found) > 1 else grid.ravel()
            for number, (axis, one) in enumerate(zip(axes, pictures, strict=False)):
                texts = _draw(axis, images[number], one, None if wanted is None else wanted[number], names)
                room = 72 * figure.get_figwidth() / columns - 4  # points
                title = [network] * (number == 0) + [next((t for t in texts if text_width(t) <= room), texts[-1])]
                axis.set_title("\n".join(title), loc="left", fontsize=small(), color="0.3", pad=2)
        if legend:
            handles = [Line2D([], [], color=colour, linestyle=line) for colour, line in LOOKS.values()]
            figure.legend(handles, list(LOOKS), loc="outside lower center", ncols=len(LOOKS), fontsize=small())
    return figure


def _draw(
    axis: Axes, image: Tensor, found: Mapping[str, Tensor], wanted: Tensor | None, names: Sequence[str] | None
) -> list[str]:
    """Draw a picture with its boxes; return what is to be said of it, at length and in short."""
    found = {name: values.detach().cpu() for name, values in found.items()}
    axis.imshow(image.detach().cpu().float().clamp(0, 1).permute(1, 2, 0).numpy())
    if wanted is None:
        for box, label in zip(found["boxes"], found["labels"], strict=True):
            _box(axis, box, "right", names, label)
        return [f"{len(found['boxes'])} found"]
    wanted, crowds = (wanted[rows].cpu() for rows in (wanted[:, 0] >= 0, wanted[:, 0] < -1))
    right, taken = outcomes(found, wanted)
    aside = ~right & in_crowds(found, crowds)
    found, right = {name: values[~aside] for name, values in found.items()}, right[~aside]
    for row in wanted[~taken]:
        _box(axis, row[1:], "missed", names, row[0])
    for box, label, good in zip(found["boxes"], found["labels"], right, strict=True):
        _box(axis, box, "right" if good else "wrong", names, label)
    counts = [int(right.sum()), int((~right).sum()), int((~taken).sum())]
    return [", ".join(f"{n} {kind}" for n, kind in zip(counts, LOOKS, strict=True)), " / ".join(map(str, counts))]


def _box(axis: Axes, box: Tensor, kind: str, names: Sequence[str] | None, label: Tensor) -> None:
    left, top, right, bottom = box.tolist()
    colour, line = LOOKS[kind]
    axis.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linestyle=line, linewidth=1)
    )
    if names is not None:
        axis.text(
            left, top, names[int(label)], fontsize=small(), color="white", va="bottom", clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def _check(images: Tensor, found: Mapping[str, Detections], wanted: Tensor | None) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"images must be (n, 3, height, width) with n >= 1; got {tuple(images.shape)}")
    if not found:
        raise ValueError("found must name at least one network with its detections")
    for network, pictures in found.items():
        if len(pictures) != len(images):
            raise ValueError(f"{network}: detections of {len(pictures)} pictures, but there are {len(images)}")
    if wanted is not None and (wanted.ndim != 3 or wanted.shape[2] != 5 or len(wanted) != len(images)):
        raise ValueError(f"wanted must be ({len(images)}, boxes, 5), a batch's targets; got {tuple(wanted.shape)}")

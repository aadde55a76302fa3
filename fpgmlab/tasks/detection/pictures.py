"""Pictures with boxes: what every data set of a detection task is, and what is done about boxes that are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fpgmlab.common.numbers import counted
from fpgmlab.common.warned import warn
from fpgmlab.errors import few
from fpgmlab.tasks.reading import read_picture

T = TypeVar("T", int, Tensor)


@dataclass(frozen=True)
class Box:
    """One labelled box and where it was read.

    Attributes
    ----------
    label : int
        Number of its class, from 0.
    corners : tuple of float
        Left, top, right, bottom, in pixels.
    where : str
        File and line, or file and number of the annotation.
    crowd : bool
        Many objects that are not told apart: COCO's ``iscrowd``.
    """

    label: int
    corners: tuple[float, float, float, float]
    where: str
    crowd: bool = False


@dataclass(frozen=True)
class Picture:
    """One picture: its file, its ``(width, height)`` and its boxes; none of them makes it background."""

    path: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...] = ()


class BoxedPictures(Dataset):
    """A map-style data set of ``(image, boxes, labels)``, read from files when asked for.

    An image is uint8 (3, height, width), RGB; boxes are float (count, 4) as left, top, right, bottom in pixels;
    labels int64 (count,), those of crowds by `crowd_label`. Grey pictures get three equal channels; transparent ones
    are laid on white; a JPEG is turned upright as its EXIF data say, and its boxes refer to the upright picture; of
    several frames the first counts.

    Parameters
    ----------
    pictures : iterable of Picture
        Boxes are clipped to the picture; those that nothing is left of, and repeated ones, are dropped. One warning
        for each kind says how many they were, and where the first is.
    classes : sequence of str
        Their names.
    source : str
        The file that describes them, for messages.

    Attributes
    ----------
    classes : tuple of str
    paths, sizes : list
        Of each picture: its file, and its width and height in pixels, upright.
    boxes, labels : list of Tensor, (count, 4) and (count,)

    Raises
    ------
    ValueError
        When there are no pictures; for a class number that does not exist, or coordinates that are no numbers.
    """

    def __init__(self, pictures: Iterable[Picture], classes: Sequence[str], source: str) -> None:
        self.classes = tuple(map(str, classes))
        self.source = source
        noted: dict[str, list[str]] = {}
        self.paths, self.sizes, self.boxes, self.labels = [], [], [], []
        for picture in pictures:
            kept = _checked(picture, self.classes, noted)
            self.paths.append(picture.path)
            self.sizes.append(picture.size)
            self.boxes.append(torch.tensor([corners for _, corners in kept], dtype=torch.float32).reshape(-1, 4))
            self.labels.append(torch.tensor([label for label, _ in kept], dtype=torch.int64))
        if not self.paths:
            raise ValueError(f"{source}: no pictures; at least one is needed")
        for what, where in noted.items():
            warn(f"{source}: {len(where)} {what}; the first: {where[0]}")

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        boxes, classes = sum(map(len, self.boxes)), len(self.classes)
        return (
            f"{counted(len(self), 'picture')}, {boxes:,} box{'' if boxes == 1 else 'es'}, "
            f"{classes} class{'' if classes == 1 else 'es'} ({few(self.classes, 10, quoted=False)})"
        )

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image = read_picture(self.paths[index])
        found, said = (image.shape[2], image.shape[1]), self.sizes[index]
        if found != said:
            raise ValueError(
                f"{str(self.paths[index])!r} has {found[0]} x {found[1]} pixels, but {self.source} was made for "
                f"{said[0]} x {said[1]}: its boxes would lie elsewhere. Give the picture that was labelled."
            )
        return image, self.boxes[index].clone(), self.labels[index].clone()


def crowd_label(label: T) -> T:
    """Return what stands for a crowd of a class in labels, -2 - class, and the class of what stands for one."""
    return -2 - label


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with a byte order mark or without; ValueError when it is of another kind."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is no text in UTF-8: {error}") from error


def _checked(
    picture: Picture, classes: Sequence[str], noted: dict[str, list[str]]
) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Return label and corners of the good boxes, each once; note the others by what is wrong."""
    width, height = picture.size
    kept: dict[tuple[int, tuple[float, float, float, float]], None] = {}
    for box in picture.boxes:
        if not 0 <= box.label < len(classes):
            hint = ". Are the classes counted from 1?" if box.label == len(classes) else ""
            raise ValueError(
                f"{box.where}: class number {box.label} does not exist; with {len(classes)} classes it must be 0 to "
                f"{len(classes) - 1}{hint}"
            )
        if not np.isfinite(box.corners).all():
            raise ValueError(f"{box.where}: the box {box.corners} must be four finite numbers")
        left, top, right, bottom = box.corners
        inside = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if not (inside[2] > inside[0] and inside[3] > inside[1]):
            noted.setdefault("boxes of no size or outside their picture were dropped", []).append(box.where)
            continue
        # Half a pixel is what rounding makes of a box at the edge.
        if max(abs(a - b) for a, b in zip(inside, box.corners, strict=True)) > 0.5:
            noted.setdefault("boxes reached beyond their picture and were clipped", []).append(box.where)
        label = crowd_label(box.label) if box.crowd else box.label
        if (label, inside) in kept:
            noted.setdefault("boxes were there twice and are counted once", []).append(box.where)
        kept[label, inside] = None
    return list(kept)

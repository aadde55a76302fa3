"""Boxes in YOLO's layout: ``data.yaml``, a folder of images, and beside it one of labels, a text file for each image.

A line of a label file is ``class x y width height``, centre and size as shares of the picture; or the class and the
corners of a polygon, of which the enclosing box is taken.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from fpgmlab.tasks.detection.data_yaml import DataYaml
from fpgmlab.tasks.detection.pictures import Box, BoxedPictures, Picture, picture_size, read_text

FURTHEST = 1.5  # of a coordinate; what is a little beyond the picture is clipped, more is no share of it


def yolo_boxes(path: str | Path, split: str) -> BoxedPictures:
    """Read one split of a data set in YOLO's layout.

    Parameters
    ----------
    path : path-like
        ``data.yaml`` with ``names`` (a list, or a mapping from class numbers) and an entry for each split: a folder of
        pictures, a text file with one path of a picture a line, or a list of these. Relative paths start from the
        entry ``path``, itself relative to the file's folder; where nothing is there, to the folder above or the
        working directory, as YOLOv5 has it. An entry ``download`` is not run.
    split : str
        ``"train"``, ``"val"`` or another entry.

    Raises
    ------
    FileNotFoundError
        For a path that leads nowhere, with the line of ``data.yaml`` or of the list.
    ValueError
        For a file of another kind or a wrong label, with file and line.

    Notes
    -----
    The labels of ``.../images/a.jpg`` are in ``.../labels/a.txt``, or beside the picture when no folder is called
    ``images``. A picture without a label file, or with an empty one, is background.
    """
    path = Path(path)
    described = DataYaml.read(path)
    names = described.names()
    files = described.pictures(split)
    labelled = [_label_file(file) for file in files]
    if files and not any(label.is_file() for label in labelled):
        raise FileNotFoundError(
            f"{described.where(split)}: {split}: none of {len(files)} pictures has a label file; expected "
            f"{str(labelled[0])!r} for {str(files[0])!r}"
        )
    _warn_of_strays(files, labelled, f"{path} ({split})")
    pictures = (_picture(file, label) for file, label in zip(files, labelled, strict=True))
    return BoxedPictures(pictures, names, f"{path} ({split})")


def _warn_of_strays(files: Sequence[Path], labelled: Sequence[Path], source: str) -> None:
    """Warn of label files without a picture, where a folder of labels belongs to a folder of pictures.

    A list may leave out pictures of its folder; their labels are no strays.
    """
    known = set(labelled)
    folders = {label.parent: file.parent for file, label in zip(files, labelled, strict=True)}
    strays = [
        label
        for folder, pictures in folders.items()
        if folder != pictures
        for label in sorted(folder.glob("*.txt"))
        if label not in known and label.name != "classes.txt" and not any(pictures.glob(f"{label.stem}.*"))
    ]
    if strays:
        warnings.warn(f"{source}: {len(strays)} label files have no picture; the first: {strays[0]}", stacklevel=3)


def _label_file(file: Path) -> Path:
    parts = list(file.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _picture(file: Path, labels: Path) -> Picture:
    size = picture_size(file)
    if not labels.is_file():
        return Picture(file, size)
    lines = enumerate(read_text(labels).splitlines(), 1)
    return Picture(file, size, tuple(_box(line, size, f"{labels}, line {n}") for n, line in lines if line.strip()))


def _box(line: str, size: tuple[int, int], where: str) -> Box:
    try:
        label, *numbers = map(float, line.split())
    except ValueError as error:
        raise ValueError(f"{where}: {line!r} must be numbers with spaces between: class x y width height") from error
    polygon = len(numbers) >= 6 and len(numbers) % 2 == 0
    if not label.is_integer() or not (len(numbers) == 4 or polygon):
        raise ValueError(
            f"{where}: {line!r} must be a whole class number and x y width height, or a polygon of at least 3 corners; "
            f"it has {1 + len(numbers)} columns" + (", a confidence too?" if len(numbers) == 5 else "")
        )
    if polygon:
        xs, ys = numbers[::2], numbers[1::2]
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    else:
        x, y, width, height = numbers
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if max(numbers) > FURTHEST:
        raise ValueError(
            f"{where}: {line!r} looks like pixels{' or keypoints' if polygon else ''}; coordinates must be shares of "
            "the picture, 0 to 1"
        )
    return Box(int(label), (left * size[0], top * size[1], right * size[0], bottom * size[1]), where)

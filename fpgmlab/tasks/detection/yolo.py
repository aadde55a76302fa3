"""Boxes in YOLO's layout: ``data.yaml``, a folder of images, and beside it one of labels, a text file for each image.

What a line of a label file may be is in `fpgmlab.tasks.detection.labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fpgmlab.common.files import as_path
from fpgmlab.common.warned import warn
from fpgmlab.tasks.detection.data_yaml import DataYaml
from fpgmlab.tasks.detection.labels import Labels
from fpgmlab.tasks.detection.pictures import BoxedPictures, Picture, read_text
from fpgmlab.tasks.reading import check_pictures, picture_size


def yolo_boxes(path: str | Path, split: str, *, check: bool = True, progress: bool = True) -> BoxedPictures:
    """Read one split of a data set in YOLO's layout: boxes, also those around polygons and of labels with keypoints.

    Parameters
    ----------
    path : path-like
        ``data.yaml`` with ``names`` (a list, or a mapping from class numbers) and an entry for each split: a folder of
        pictures, a text file with one path of a picture a line, or a list of these. Relative paths start from the
        entry ``path``, itself relative to the file's folder; where nothing is there, to the folder above or the
        working directory, as YOLOv5 has it. An entry ``download`` is not run. Of keypoints it must have the shape,
        ``kpt_shape``: their number, and 2 or 3 (x, y and perhaps visibility).
    split : str
        ``"train"``, ``"val"`` or another entry, such as ``"test"``: ``Detection(train, val, test=...)``.
    check : bool
        Read each picture once, now, to find the damaged ones before they stop a training.
    progress : bool
        Show a progress bar while they are read.

    Returns
    -------
    BoxedPictures

    Raises
    ------
    TypeError
        For what is no path.
    FileNotFoundError
        For a path that leads nowhere, with the line of ``data.yaml`` or of the list.
    ValueError
        For a file of another kind or a wrong label, with file and line; when pictures are damaged, with their paths.

    Notes
    -----
    The labels of ``.../images/a.jpg`` are in ``.../labels/a.txt``, or beside the picture when no folder is called
    ``images``. A picture without a label file, or with an empty one, is background.

    A line is ``class x y width height``, centre and size as shares of the picture, with ``kpt_shape`` perhaps followed
    by keypoints, which are passed over; without it a longer line is a polygon or an oriented box, its class and its
    corners, of which the enclosing box is taken. Where all polygons could as well be keypoints, a warning says so;
    ``kpt_shape: [0, 0]`` says that they are not.
    """
    path = as_path(path)
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
    labels = Labels(described.keypoints())
    source = f"{path} ({split})"
    checked = partial(check_pictures, files, source, progress=progress) if check else None
    sizes = _sizes(files, checked)
    pictures = (_picture(*each, labels) for each in zip(files, sizes, labelled, strict=True))
    data = BoxedPictures(pictures, names, source)
    if doubt := labels.doubt():
        warn(f"{source}: {doubt}")
    if checked is not None:
        checked()
    return data


def _sizes(files: Sequence[Path], checked: Callable[[], None] | None) -> list[tuple[int, int]]:
    """Return the pictures' sizes; a `ValueError` of the first that has none, or, if all can be checked, of all."""
    try:
        return [picture_size(file) for file in files]
    except ValueError:
        if checked is not None:
            checked()
        raise


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
        warn(f"{source}: {len(strays)} label files have no picture; the first: {strays[0]}")


def _label_file(file: Path) -> Path:
    parts = list(file.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _picture(file: Path, size: tuple[int, int], lines: Path, labels: Labels) -> Picture:
    if not lines.is_file():
        return Picture(file, size)
    numbered = enumerate(read_text(lines).splitlines(), 1)
    return Picture(
        file, size, tuple(labels.box(line, size, f"{lines}, line {n}") for n, line in numbered if line.strip())
    )

"""Boxes in YOLO's layout: ``data.yaml``, a folder of images, and beside it one of labels, a text file for each image.

A line of a label file is ``class x y width height``, centre and size as shares of the picture; or the class and the
corners of a polygon, of which the enclosing box is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fpgmlab.tasks.detection_data import Box, BoxedPictures, Picture, picture_size

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def yolo_boxes(path: str | Path, split: str) -> BoxedPictures:
    """Read one split of a data set in YOLO's layout.

    Parameters
    ----------
    path : path-like
        ``data.yaml`` with ``names`` (a list, or a mapping from class numbers) and an entry for each split: a folder of
        pictures, a text file with one path of a picture a line, or a list of these. Relative paths start from the
        entry ``path``, itself relative to the file, or from the file's folder.
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
    settings = _settings(path)
    names = _names(settings, path)
    if settings.get(split) is None:
        raise ValueError(f"{path}: no entry {split!r}; there are {sorted(map(str, settings))}")
    root = path.parent / str(settings.get("path") or "")
    entries = settings[split] if isinstance(settings[split], list) else [settings[split]]
    files = [file for entry in entries for file in _files(root / str(entry), f"{path}: {split}: {str(entry)!r}")]
    labelled = [_label_file(file) for file in files]
    if files and not any(label.is_file() for label in labelled):
        raise FileNotFoundError(
            f"{path}: {split}: none of {len(files)} pictures has a label file; expected {str(labelled[0])!r} for "
            f"{str(files[0])!r}"
        )
    pictures = (_picture(file, label) for file, label in zip(files, labelled, strict=True))
    return BoxedPictures(pictures, names, f"{path} ({split})")


def _settings(path: Path) -> Mapping[str, Any]:
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}; expected the data.yaml of a data set in YOLO's layout")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no YAML: {error}") from error
    if not isinstance(settings, dict) or "names" not in settings:
        raise ValueError(f"{str(path)!r} is no data.yaml: it must have names, train and val")
    return settings


def _names(settings: Mapping[str, Any], path: Path) -> list[str]:
    names = settings["names"]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError(f"{path}: names must be numbered 0 to {len(names) - 1}; got {list(names)}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{path}: names must be a list of class names; got {names!r}")
    if settings.get("nc", len(names)) != len(names):
        raise ValueError(f"{path}: nc is {settings['nc']}, but there are {len(names)} names")
    return list(map(str, names))


def _files(place: Path, where: str) -> Iterator[Path]:
    """Yield the pictures of a folder, with all folders in it, or of a list."""
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise FileNotFoundError(f"{where}: no pictures in {str(place)!r}")
        yield from files
    elif place.is_file():
        for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                file = place.parent / line.strip()
                if not file.is_file():
                    raise FileNotFoundError(f"{place}, line {number}: no picture {str(file)!r}")
                yield file
    else:
        raise FileNotFoundError(
            f"{where}: neither a folder nor a list at {str(place)!r}. Paths start from the entry 'path', or from the "
            "folder of data.yaml."
        )


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
    lines = enumerate(labels.read_text(encoding="utf-8").splitlines(), 1)
    return Picture(file, size, tuple(_box(line, size, f"{labels}, line {n}") for n, line in lines if line.strip()))


def _box(line: str, size: tuple[int, int], where: str) -> Box:
    try:
        label, *numbers = map(float, line.split())
    except ValueError as error:
        raise ValueError(f"{where}: {line!r} must be numbers only: class x y width height") from error
    polygon = len(numbers) >= 6 and len(numbers) % 2 == 0
    if not label.is_integer() or not (len(numbers) == 4 or polygon):
        raise ValueError(
            f"{where}: {line!r} must be a whole class number and x y width height, or a polygon of at least 3 corners"
        )
    if polygon:
        xs, ys = numbers[::2], numbers[1::2]
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    else:
        x, y, width, height = numbers
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if max(numbers) > 2:  # a little beyond the picture is clipped; this is another unit
        raise ValueError(f"{where}: {line!r} looks like pixels; x y width height must be shares of the picture, 0 to 1")
    return Box(int(label), (left * size[0], top * size[1], right * size[0], bottom * size[1]), where)

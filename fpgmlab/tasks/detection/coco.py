"""Boxes in COCO's JSON (Lin et al., 2014, arXiv:1405.0312; format: cocodataset.org, "data format")."""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpgmlab.common.files import as_path, whole
from fpgmlab.errors import few
from fpgmlab.tasks.detection.pictures import Box, BoxedPictures, Picture, read_text
from fpgmlab.tasks.reading import check_pictures


def coco_boxes(
    path: str | Path, images: str | Path | None = None, *, check: bool = True, progress: bool = True
) -> BoxedPictures:
    """Read a COCO JSON file.

    Classes are numbered from 0 in the order of the categories' ids. Regions marked ``iscrowd`` are nothing to learn,
    and what is found in them counts neither way, as in COCO's own evaluation; see `fpgmlab.tasks.Detection`. A picture
    without annotations is background.

    Parameters
    ----------
    path : path-like
        ``instances_*.json``: images, annotations with ``bbox`` as x, y, width, height, and categories.
    images : path-like, optional
        The folder that file names start from; the JSON file's own when left out.
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
        When the file or a picture is not there.
    ValueError
        For a file of another kind, and for an annotation that is wrong, by its number; when pictures are damaged, with
        their paths.
    """
    path = as_path(path)
    coco = _tables(path)
    categories = coco["categories"]
    ids = sorted(_ids(categories, path, "categories"), key=lambda number: (isinstance(number, str), number))
    numbers = {category: number for number, category in enumerate(ids)}
    names = {category["id"]: str(category["name"]) for category in categories}
    boxes: dict[Any, list[Box]] = {image: [] for image in _ids(coco["images"], path, "images")}
    for number, annotation in enumerate(coco["annotations"]):
        where = f"{path}: annotation {annotation.get('id', number)}"
        image, box = _box(annotation, numbers, where)
        if image not in boxes:
            raise ValueError(f"{where}: there is no image with the id {image!r}")
        boxes[image].append(box)
    folder = path.parent if images is None else Path(images)
    pictures = [_picture(image, folder, boxes[image["id"]], path) for image in coco["images"]]
    data = BoxedPictures(pictures, [names[category] for category in ids], str(path))
    if check:
        check_pictures(data.paths, str(path), progress=progress)
    return data


def _tables(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return the file's images, annotations and categories: lists of dicts with what this module needs at least."""
    if not path.is_file():
        inside = few(sorted(file.name for file in path.glob("*.json"))) or "no JSON in it"
        what = f"{whole(path)} is a folder with {inside}" if path.is_dir() else f"no file {whole(path)}"
        raise FileNotFoundError(f"{what}; expected a file of annotations in COCO's JSON")
    try:
        coco = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is no JSON: {error}") from error
    for table, needed in (("images", {"id"}), ("annotations", set()), ("categories", {"id", "name"})):
        rows = coco.get(table) if isinstance(coco, dict) else None
        if not isinstance(rows, list):
            found = "is missing" if rows is None else f"must be a list; it is a {type(rows).__name__}"
            raise ValueError(f"{str(path)!r} is no COCO file of boxes: {table!r} {found}")
        for number, row in enumerate(rows):
            if not isinstance(row, dict) or not needed <= set(row):
                what = f"an object with {' and '.join(sorted(needed))}" if needed else "an object"
                raise ValueError(f"{path}: {table}[{number}] must be {what}; got {reprlib.repr(row)}")
    return coco


def _ids(rows: list[dict[str, Any]], path: Path, table: str) -> list[int | str]:
    """Return the ids of a table; ValueError when one is there twice, or is none."""
    ids = [row["id"] for row in rows]
    for number, found in enumerate(ids):
        if not isinstance(found, (int, str)):
            raise ValueError(f"{path}: {table}[{number}]: id must be a number or text; got {reprlib.repr(found)}")
    if twice := [found for found, count in Counter(ids).items() if count > 1]:
        raise ValueError(f"{path}: {table} has the id {twice[0]!r} more than once; which one is meant?")
    return ids


def _box(annotation: Mapping[str, Any], numbers: Mapping[Any, int], where: str) -> tuple[int | str, Box]:
    """Return the id of the image, and the box."""
    category, image = annotation.get("category_id"), annotation.get("image_id")
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: it must have bbox as [x, y, width, height] ({error!r})") from error
    if not isinstance(category, (int, str)) or not isinstance(image, (int, str)):
        raise ValueError(f"{where}: it must have the ids category_id and image_id; got {category!r} and {image!r}")
    if category not in numbers:
        raise ValueError(f"{where}: there is no category with the id {category!r}; there are {few(numbers, 12)}")
    return image, Box(numbers[category], (x, y, x + width, y + height), where, bool(annotation.get("iscrowd")))


def _picture(image: Mapping[str, Any], folder: Path, boxes: list[Box], path: Path) -> Picture:
    try:
        file, size = folder / image["file_name"], (int(image["width"]), int(image["height"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: image {image['id']!r} must have file_name, width and height ({error!r})") from error
    if min(size) < 1:
        raise ValueError(f"{path}: image {image['id']!r}: width and height must be > 0; got {size[0]} x {size[1]}")
    if not file.is_file():
        raise FileNotFoundError(
            f"{path}: image {image['id']!r}: no picture {whole(file)}. Pass images=, the folder that file names start "
            "from."
        )
    return Picture(file, size, tuple(boxes))

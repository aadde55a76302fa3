"""Boxes in COCO's JSON (Lin et al., 2014, arXiv:1405.0312; format: cocodataset.org, "data format")."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpgmlab.tasks.detection_data import Box, BoxedPictures, Picture


def coco_boxes(path: str | Path, images: str | Path | None = None) -> BoxedPictures:
    """Read a COCO JSON file.

    Classes are numbered from 0 in the order of the categories' ids. Regions marked ``iscrowd`` are left out, with a
    warning; a picture without annotations is background.

    Parameters
    ----------
    path : path-like
        ``instances_*.json``: images, annotations with ``bbox`` as x, y, width, height, and categories.
    images : path-like, optional
        The folder that file names start from; the JSON file's own when left out.

    Raises
    ------
    FileNotFoundError
        When the file or a picture is not there.
    ValueError
        For a file of another kind, and for an annotation that is wrong, by its number.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}; expected annotations in COCO's JSON")
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON: {error}") from error
    missing = [k for k in ("images", "annotations", "categories") if not isinstance(coco, dict) or k not in coco]
    if missing:
        raise ValueError(f"{str(path)!r} is no COCO file of boxes: {missing[0]!r} is missing")
    folder = path.parent if images is None else Path(images)
    categories = sorted(coco["categories"], key=lambda category: category["id"])
    numbers = {category["id"]: number for number, category in enumerate(categories)}
    boxes: dict[Any, list[Box]] = {image["id"]: [] for image in coco["images"]}
    crowds = 0
    for number, annotation in enumerate(coco["annotations"]):
        where = f"{path}: annotation {annotation.get('id', number)}"
        box = _box(annotation, numbers, where)
        if annotation["image_id"] not in boxes:
            raise ValueError(f"{where}: there is no image with the id {annotation['image_id']!r}")
        if annotation.get("iscrowd"):
            crowds += 1
        else:
            boxes[annotation["image_id"]].append(box)
    if crowds:
        warnings.warn(f"{path}: {crowds} regions marked iscrowd were left out", UserWarning, stacklevel=2)
    return BoxedPictures(
        [_picture(image, folder, boxes[image["id"]], path) for image in coco["images"]],
        [category["name"] for category in categories],
        str(path),
    )


def _box(annotation: Mapping[str, Any], numbers: Mapping[Any, int], where: str) -> Box:
    try:
        category, _ = annotation["category_id"], annotation["image_id"]
        x, y, width, height = map(float, annotation["bbox"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: it must have image_id, category_id and bbox as [x, y, width, height] ({error!r})"
        ) from error
    if category not in numbers:
        raise ValueError(f"{where}: there is no category with the id {category!r}; there are {sorted(numbers)}")
    return Box(numbers[category], (x, y, x + width, y + height), where)


def _picture(image: Mapping[str, Any], folder: Path, boxes: list[Box], path: Path) -> Picture:
    try:
        file, size = folder / image["file_name"], (int(image["width"]), int(image["height"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: image {image['id']!r} must have file_name, width and height ({error!r})") from error
    if not file.is_file():
        raise FileNotFoundError(
            f"{path}: image {image['id']!r}: no picture {str(file)!r}. Pass images=, the folder that file names start "
            "from."
        )
    return Picture(file, size, tuple(boxes))

"""One folder of pictures for each class: which folders are splits, which are classes, which are neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpgmlab.common.files import whole
from fpgmlab.common.warned import warn
from fpgmlab.errors import few
from fpgmlab.tasks.reading import SUFFIXES

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}  # and what others call them


@dataclass(frozen=True)
class Found:
    """The pictures of a split: their paths, the number of each one's class, and the classes' names."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def class_folders(root: Path) -> dict[str, Found]:
    """Find the pictures of each class.

    Parameters
    ----------
    root : Path
        Of classes, or of splits with classes in them. Hidden folders and files are left out.

    Returns
    -------
    dict of str to Found
        By ``"train"``, ``"val"``, ``"test"``, as far as there are such folders; else all of it by ``""``.

    Raises
    ------
    FileNotFoundError
        When there is no such folder, no folder in it, or a class has no picture.
    ValueError
        For splits without one to train on, two of a kind, of different classes, or with pictures in place of classes.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {whole(root)}; expected one with a folder of pictures for each class")
    splits = _splits(root)
    if not splits:
        _check_classes(root)
        return {"": _found(root)}
    if "train" not in splits:
        there = few(folder.name for folder in splits.values())
        raise ValueError(
            f"{whole(root)} has {there} with folders in it, but none to train on: put that beside it as 'train', or "
            "rename it if it is a class"
        )
    others = [folder for folder in _folders(root) if folder not in splits.values() and any(_pictures(folder))]
    if others:
        warn(f"{whole(root)}: left out, as they are no split: {few(folder.name for folder in others)}")
    found = {split: _found(splits[split]) for split in SPLITS if split in splits}
    for split, part in found.items():
        if odd := sorted(set(found["train"].classes) ^ set(part.classes)):
            raise ValueError(f"{whole(root)}: train and {split} must have the same classes; only one of them has {odd}")
    return found


def _splits(root: Path) -> dict[str, Path]:
    """Return the folders that are splits: called so, and with folders of classes in them."""
    splits: dict[str, Path] = {}
    for folder in _folders(root):
        split = _split(folder.name)
        if split is None or not _folders(folder):
            continue
        if split in splits:
            raise ValueError(
                f"{whole(root)} has both {splits[split].name!r} and {folder.name!r}: which of them is {split!r}? Take "
                "the other one out"
            )
        splits[split] = folder
    return splits


def _split(name: str) -> str | None:
    """Return which split a folder of this name is; None of another name."""
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def _check_classes(root: Path) -> None:
    """Raise ValueError where all classes are called as splits: their pictures would be sorted by nothing."""
    names = [folder.name for folder in _folders(root)]
    splits = {_split(name.rstrip("0123456789")) for name in names}  # COCO has train2017
    if "train" in splits and None not in splits and len(splits) > 1:
        raise ValueError(
            f"{whole(root)}: {few(names)} hold pictures and no folders of classes; expected pictures in "
            f"{names[0]}/<class>, or other names if they are the classes{_boxes_instead(root)}"
        )


def _boxes_instead(folder: Path) -> str:
    """Return a hint where a folder belongs to boxes in YOLO's layout, of images and labels side by side; else nothing.

    It is the one that holds both, one above such, or lies within the images.
    """
    folder = folder.absolute()
    within = [place.parent for place in (folder, *folder.parents) if place.name == "images"]
    places = [folder, *_folders(folder), *within]
    sides = [place for place in places if (place / "images").is_dir() and (place / "labels").is_dir()]
    if not sides:
        return ""
    known = [sides[0] / "data.yaml", sides[0].parent / "data.yaml", *sorted(sides[0].glob("*.y*ml"))]
    file = next((file for file in known if file.is_file()), "<its data.yaml>")
    return (
        ". With images and labels side by side it looks like boxes in YOLO's layout: "
        f"fl.tasks.yolo_boxes({str(file)!r}, 'train'), and so on, for fl.tasks.Detection"
    )


def _found(folder: Path) -> Found:
    """Return the pictures in a folder of classes."""
    classes = _folders(folder)
    if not classes:
        raise FileNotFoundError(
            f"{whole(folder)} holds no folder; expected one with pictures for each class{_boxes_instead(folder)}"
        )
    pictures = [tuple(_pictures(place)) for place in classes]
    if empty := [place.name for place, files in zip(classes, pictures, strict=True) if not files]:
        raise FileNotFoundError(
            f"{whole(folder)}: no pictures in {few(empty)}; take out what is no class. Pictures are "
            f"{', '.join(sorted(SUFFIXES))}{_boxes_instead(folder)}"
        )
    labels = [number for number, files in enumerate(pictures) for _ in files]
    return Found(sum(pictures, ()), tuple(labels), tuple(place.name for place in classes))


def _folders(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.is_dir() and not _is_hidden(place.name))


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures in a folder and in all below it, also through links, in the order of their names."""
    seen: set[str] = set()
    for place, below, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not _is_hidden(name))
        yield from (Path(place, name) for name in sorted(files) if _is_picture(name))


def _is_picture(name: str) -> bool:
    return not _is_hidden(name) and Path(name).suffix.lower() in SUFFIXES


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))  # .ipynb_checkpoints, ._a.jpg and __MACOSX of macOS

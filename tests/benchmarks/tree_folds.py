"""The 47 shipped tiles of trees, each judged once by networks that have not seen its picture: three folds, and one to
choose recipes by.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.utils.data import ConcatDataset

import fpgmlab as fl

WEST = 1200  # px from the left edge: here the large picture is halved, between two columns of tiles
STARTS = {"YELL_2_541000": "YELL_541", "SOAP": "SOAP", "OSBS": "OSBS"}  # of files' names: parts
Parts = tuple[str, ...]
# Fold: parts to train on, parts to judge by. The first is the shipped split. "recipe" lies within its training tiles.
FOLDS: dict[str, tuple[Parts, Parts]] = {
    "0": (("west", "east", "SOAP"), ("YELL_541", "OSBS")),
    "1": (("east", "YELL_541", "OSBS"), ("west", "SOAP")),
    "2": (("west", "SOAP", "YELL_541", "OSBS"), ("east",)),
    "recipe": (("west", "SOAP"), ("east",)),
}


class Tiles(list[tuple[Tensor, Tensor, Tensor]]):
    """Decoded tiles with their boxes."""

    classes = ("tree",)


def fold(name: str, size: int, augment: fl.tasks.BoxAugment | None = None) -> fl.tasks.Detection:
    """Return the task of a fold, its tiles in memory."""
    task = fl.tasks.trees(size=size)
    parts: dict[str, Tiles] = {}
    for data in (task.train, task.val):
        for number, path in enumerate(data.paths):
            parts.setdefault(part_of(path.stem), Tiles()).append(data[number])
    train, val = (Tiles(tile for part in chosen for tile in parts[part]) for chosen in FOLDS[name])
    return replace(task, train=train, val=val, augment=augment, name=f"trees, fold {name}")


def part_of(stem: str) -> str:
    """Return where a tile lies, of its file's name."""
    if stem.startswith("YELL_2_528000"):
        return "west" if int(stem.split("_")[-2]) < WEST else "east"
    return next(part for start, part in STARTS.items() if stem.startswith(start))


def longer(task: fl.tasks.Detection, passes: int) -> fl.tasks.Detection:
    """Return the task with so many passes through the training tiles in an epoch; it is judged after each epoch."""
    return replace(task, train=ConcatDataset([task.train] * passes))

"""Pictures with many objects: how many detections of a picture count, and whether it holds more objects than that."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from fpgmlab.tasks.detection.pictures import BoxedPictures
from fpgmlab.tasks.sets import Examples

MOST = 100  # detections of a class in a picture that count, as in COCO's evaluation
KEPT = 300  # detections of all classes in a picture that a head leaves
CLASSES = KEPT // MOST  # so many classes may have as many detections as count


@dataclass(frozen=True)
class Objects:
    """The objects of a picture that need the most detections: of one class, or of all together.

    Attributes
    ----------
    count : int
    label : int, optional
        Their class; None for all.
    needed : int
        The least ``detections`` of a task with which each can count.
    """

    count: int
    label: int | None
    needed: int

    @classmethod
    def of(cls, labels: Tensor) -> Objects:
        """Return those of labels (count,); crowds do not count."""
        counts = labels[labels >= 0].long().bincount()
        count = int(counts.sum())
        most = int(counts.max()) if count else 0
        together = math.ceil(count / CLASSES) if count > KEPT else 0
        if together > most:
            return cls(count, None, together)
        return cls(most, int(counts.argmax()) if most else None, most)


def kept(count: int) -> int:
    """Return how many detections of a picture a head is to leave where so many of a class count."""
    return max(KEPT, CLASSES * count)


def compared(candidates: int, limit: int) -> int:
    """Return how many boxes of a picture to compare, from the number for the usual limit: in proportion above it."""
    return candidates * max(limit, KEPT) // KEPT


def labels_of(data: object, number: int) -> Tensor | None:
    """Return a picture's labels without reading it; None when the data set does not tell them."""
    data, number = _whole(data, number)
    return data.labels[number] if isinstance(data, BoxedPictures) else None


def classes_in(data: object, number: int) -> list[int]:
    """Return the classes of a picture's objects, each once, without reading it; none where they are not told."""
    labels = labels_of(data, number)
    return [] if labels is None else labels[labels >= 0].unique().tolist()


def objects_of(data: Examples) -> list[int]:
    """Return the labels of all objects, without crowds; pictures are read where the data set does not tell them."""
    told = ((labels_of(data, number), number) for number in range(len(data)))
    found = (data[number][2] if labels is None else labels for labels, number in told)
    return [int(label) for labels in found for label in labels if label >= 0]


def nothing_labelled(val: Examples, test: Examples | None) -> list[str]:
    """Return in words which of the data to judge by have no object; of those that tell their labels without reading."""
    judged = (("validate", val), ("test", test))
    return [
        f"the {len(data)} pictures to {purpose} with have no labelled object: map50 is 0 of any network and says "
        "nothing. Are their label files where they belong?"
        for purpose, data in judged
        if data is not None and all(_is_empty(labels_of(data, number)) for number in range(len(data)))
    ]


def _is_empty(labels: Tensor | None) -> bool:
    return labels is not None and not bool((labels >= 0).any())


def name_of(data: object, number: int) -> str:
    """Return what to call a picture: its file, or its number in the data set."""
    data, number = _whole(data, number)
    return repr(str(data.paths[number])) if isinstance(data, BoxedPictures) else f"picture {number}"


def _whole(data: object, number: int) -> tuple[object, int]:
    """Return the data set that parts are drawn from, and a picture's number in it."""
    if isinstance(data, Subset):
        return _whole(data.dataset, data.indices[number])
    if isinstance(data, ConcatDataset):
        part = bisect_right(data.cumulative_sizes, number)
        return _whole(data.datasets[part], number - [0, *data.cumulative_sizes][part])
    return data, number


def too_full(
    found: Iterable[tuple[Examples, int, Tensor | None]], classes: Sequence[str], detections: int
) -> str | None:
    """Return in words which picture's objects need the most detections, when that is too many; else None.

    Parameters
    ----------
    found : iterable
        Data set, number of a picture in it, and its labels (count,) where they are known.
    classes : sequence of str
    detections : int
        How many of a class in a picture count.
    """
    needs = [(Objects.of(labels), data, number) for data, number, labels in found if labels is not None]
    fullest = max(needs, key=lambda need: need[0].needed, default=None)
    if fullest is None or fullest[0].needed <= detections:
        return None
    objects, data, number = fullest
    of_what = "of all classes" if objects.label is None else f"of class {classes[objects.label]!r}"
    return (
        f"{name_of(data, number)} holds {objects.count} objects {of_what}, more than can count: only the surest "
        f"{detections} detections of a class in a picture do, {kept(detections)} of all. Pass "
        f"detections={objects.needed} or more to the task."
    )

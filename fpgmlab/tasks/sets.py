"""What a data set is, and what all tasks ask of theirs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset


class Examples(Protocol):
    """A map-style data set: as torch's ``Dataset``, with a length; nothing needs to be inherited."""

    def __len__(self) -> int:
        """Return how many examples there are."""

    def __getitem__(self, index: int, /) -> Any:
        """Return one example, as the task that reads it wants it."""


def check_sets(train: Examples, val: Examples, test: Examples | None = None) -> None:
    """Raise a `TypeError` for two arrays or a data set that is not map-style, a `ValueError` for one that is empty."""
    for role, data in (("train", train), ("val", val), *([("test", test)] if test is not None else [])):
        if isinstance(data, (str, os.PathLike)):
            raise TypeError(
                f"{role} must be a data set that is read already; got the path {os.fspath(data)!r}. Pictures with "
                "boxes are read by fl.tasks.yolo_boxes('data.yaml', 'train') or fl.tasks.coco_boxes(path); a task of "
                "pictures in folders of classes is fl.tasks.image_folder(path)"
            )
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise TypeError(
                f"{role} must be a map-style data set with __len__ and __getitem__; got {type(data).__name__}"
            )
        if isinstance(data, (tuple, list)) and _are_columns(data):
            raise TypeError(
                f"{role} must be a data set of examples; got a {type(data).__name__} of two arrays with {len(data[0])} "
                "rows each, which is one of length 2. Give torch.utils.data.TensorDataset(images, labels), of tensors"
            )
        if len(data) == 0:
            raise ValueError(f"{role} is empty: {type(data).__name__} of length 0; at least one example is needed")


def _are_columns(data: Sequence[object]) -> bool:
    """Tell whether these are all images and all labels, in place of pairs of one and one."""
    shapes = [each.shape for each in data if isinstance(each, (Tensor, np.ndarray))]
    return len(data) == len(shapes) == 2 and all(shapes) and shapes[0][0] == shapes[1][0]


def class_names(classes: int | Sequence[str] | None, val: Examples, least: int, kind: str) -> tuple[str, ...]:
    """Return the names of classes, from their number or names, or as the validation data set has them.

    Raises
    ------
    ValueError
        When it has none, or there are fewer than ``least``, which this kind of task needs.
    """
    own = getattr(val, "classes", None)
    classes = own if classes is None or (own is not None and classes == len(own)) else classes
    if classes is None:
        raise ValueError("classes must be their number or names: the validation data set has no 'classes'")
    names = tuple(str(i) for i in range(classes)) if isinstance(classes, int) else tuple(map(str, classes))
    if len(names) < least:
        raise ValueError(f"a {kind} needs at least {least} class{'es' if least > 1 else ''}; got {len(names)}")
    return names


def drawn(data: Examples, count: int | None, seed: int, role: str, name: str) -> Examples:
    """Return a random part of a data set, without replacement; all of it when no count is given.

    Parameters
    ----------
    data : Examples
    count : int, optional
    seed : int
        Of the draw.
    role, name : str
        What it is to which task, for the message of a `ValueError`.
    """
    if count is None:
        return data
    if not 1 <= count <= len(data):
        raise ValueError(f"{role}={count}: must be 1 to {len(data)}, the examples that {name} has")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]
    return Subset(as_dataset(data), sorted(order.tolist()))


def labels_of(data: Examples) -> list[int]:
    """Return the label of each example; where a data set does not tell them (see `told_labels`), they are all read."""
    told = told_labels(data)
    return [int(data[number][1]) for number in range(len(data))] if told is None else told


def told_labels(data: Examples) -> list[int] | None:
    """Return the label of each example without reading any: by ``labels`` or ``targets``; None where nothing tells."""
    if isinstance(data, Subset):
        labels = told_labels(cast(Examples, data.dataset))
        return None if labels is None else [labels[number] for number in data.indices]
    if isinstance(data, ConcatDataset):
        parts = [told_labels(cast(Examples, part)) for part in data.datasets]
        return None if None in parts else [label for part in parts if part is not None for label in part]
    own = (
        data.tensors[-1] if isinstance(data, TensorDataset) else getattr(data, "labels", getattr(data, "targets", None))
    )
    try:
        return None if own is None or len(own) != len(data) else [int(label) for label in own]
    except (TypeError, ValueError):  # called so, but none of classes
        return None


def as_dataset(data: Examples) -> Dataset:
    """Return a data set as torch's own types want it: they ask for its class, torch itself for what it can do."""
    return cast(Dataset, data)

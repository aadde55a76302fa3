"""What all tasks ask of their data sets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset, Subset

from fpgmlab.tasks.task import Task


def check_sets(train: Dataset, val: Dataset) -> None:
    """Raise a `TypeError` for a data set that is not map-style, and a `ValueError` for one that is empty."""
    for role, data in (("train", train), ("val", val)):
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise TypeError(
                f"{role} must be a map-style data set with __len__ and __getitem__; got {type(data).__name__}"
            )
        if len(data) == 0:
            raise ValueError(f"{role} is empty: {type(data).__name__} of length 0; at least one example is needed")


def class_names(classes: int | Sequence[str] | None, val: Dataset, least: int, kind: str) -> tuple[str, ...]:
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


def drawn_parts(task: Task, train: int | None, val: int | None, seed: int) -> dict[str, Subset]:
    """Return random parts of a task's data sets, without replacement, by role; none for what is left out."""
    parts = {}
    for role, count in (("train", train), ("val", val)):
        data = getattr(task, role)
        if count is None:
            continue
        if not 1 <= count <= len(data):
            raise ValueError(f"{role}={count}: must be 1 to {len(data)}, the examples that {task.name} has")
        drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]
        parts[role] = Subset(data, sorted(drawn.tolist()))
    return parts

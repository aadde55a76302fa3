"""A checkpoint's rows for the classes of a new task: which of them are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fpgmlab.common.warned import warn
from fpgmlab.errors import few

HEAD = "model.24"


def fit_classes(
    tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor], known: Sequence[str], wanted: Sequence[str]
) -> dict[str, Tensor]:
    """Return a checkpoint's tensors for a model with other classes, or the same in another order.

    Its head keeps the rows for boxes and objectness, and those of the classes that both have by name; the others are
    fresh. Where one of the two only counts its classes, "0", "1", ..., and they are as many, they are the same.

    Parameters
    ----------
    tensors : mapping
        Of the checkpoint.
    fresh : mapping
        State dict of the new model.
    known, wanted : sequence of str
        Names of the classes of the checkpoint, and of the new model.

    Warns
    -----
    UserWarning
        When rows are fresh, with the names of their classes.
    """
    source = _rows(known, wanted)
    if untrained := [name for name, place in zip(wanted, source, strict=True) if place is None]:
        warn(_words(untrained, known, wanted))
    anchors = fresh[f"{HEAD}.anchors"].shape[1]
    fitted = dict(tensors)
    for name in (name for name in tensors if name.startswith(f"{HEAD}.m.")):
        old, new = (each[name].unflatten(0, (anchors, -1)).clone() for each in (tensors, fresh))  # (anchors, 5 + n, …)
        new[:, :5] = old[:, :5]
        for number, place in enumerate(source):
            if place is not None:
                new[:, 5 + number] = old[:, 5 + place]
        fitted[name] = new.flatten(0, 1)
    return fitted


def _rows(known: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """Return which class of a checkpoint each one wanted is; None for those that have no trained row."""
    rows = {name.strip().casefold(): number for number, name in enumerate(known)}
    if len(known) == 1:  # whose class is not trained
        return [None] * len(wanted)
    if len(known) == len(wanted) and _counted(len(known)) in (list(known), list(wanted)):
        return list(range(len(known)))
    return [rows.get(name.strip().casefold()) for name in wanted]


def _words(untrained: Sequence[str], known: Sequence[str], wanted: Sequence[str]) -> str:
    """Say which classes cannot be told yet, and why."""
    why = f"the weights know {few(known)}"
    if len(known) == 1:
        why += ", a single class, whose row YOLOv5 does not train"
    elif list(wanted) == _counted(len(wanted)):
        why += "; another number of classes keeps none of them, names keep those that both have"
    return (
        f"{len(untrained)} of {len(wanted)} classes have new, untrained rows in the head: {few(untrained)}. They need "
        f"fl.fit(model, task) first: {why}"
    )


def _counted(count: int) -> list[str]:
    return [str(number) for number in range(count)]

"""Whether a network is the one that a detection task's head and classes are for: looked at before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from fpgmlab.errors import few
from fpgmlab.models.yolov5.network import YOLOv5
from fpgmlab.plans.provenance import wrapped
from fpgmlab.tasks.detection.heads import Head, TellsClasses


@runtime_checkable
class TellsNetworks(Protocol):
    """A head that can tell of a network itself whether it belongs to it."""

    def check_network(self, model: nn.Module) -> None:
        """Raise ValueError for a network that the head is not for; what says nothing of itself passes."""


def classes_of(head: Head, outputs: object) -> int | None:
    """Return for how many classes a network was made; None when neither its head nor its outputs tell.

    Raises
    ------
    TypeError
        When the outputs are not those of such a head.
    """
    return head.classes_in(outputs) if isinstance(head, TellsClasses) else getattr(head, "classes", None)


def check_classes(head: Head, outputs: object, classes: Sequence[str]) -> None:
    """Raise ValueError when the network was made for another number of classes than the task has; see `classes_of`."""
    made_for = classes_of(head, outputs)
    if made_for is not None:
        check_count(head, made_for, classes)


def check_count(head: Head, made_for: int, classes: Sequence[str]) -> None:
    """Raise ValueError when a network for so many classes is not for those of the task."""
    if made_for == len(classes):
        return
    listed = str(list(classes)) if len(classes) <= 8 else "task.classes"
    told = getattr(head, "cure", None)
    cure = "give it a head for those of the task, with the library that it comes from"
    cure = cure if told is None else told(len(classes), listed)
    raise ValueError(
        f"the network has {made_for} class{'es' if made_for > 1 else ''}, the task {len(classes)}: {cure}, and train "
        "it for them"
    )


def check_network(head: Head, model: nn.Module, classes: Sequence[str], labelled: bool) -> str | None:
    """Raise ValueError where a network would be judged wrongly without a word.

    Parameters
    ----------
    head : Head
    model : nn.Module
        In a wrapper or not.
    classes : sequence of str
        Of the task.
    labelled : bool
        Whether it is held against labels: else classes may be others, and in any order.

    Returns
    -------
    str or None
        What is doubtful, in words: class names of which nobody knows whether they mean the same.

    Raises
    ------
    ValueError
        For a network with other anchors than the head, for another number of classes, or the same in another order.
    """
    model = _innermost(model)
    if isinstance(head, TellsNetworks):
        head.check_network(model)
    if not labelled:
        return None
    known = _names_of(model)
    made_for = len(known) if isinstance(model, YOLOv5) else getattr(head, "classes", None)
    if isinstance(made_for, int):
        check_count(head, made_for, classes)
    return _check_names(head, known, classes) if len(known) == len(classes) else None


def _check_names(head: Head, known: Sequence[str], classes: Sequence[str]) -> str | None:
    """Raise ValueError for a class that both know under another number; return words for names that differ."""
    ours, theirs = ([name.strip().casefold() for name in names] for names in (known, classes))
    counted = [str(number) for number in range(len(ours))]
    if ours == theirs or counted in (ours, theirs):  # who only counts says nothing of the order
        return None
    if moved := [name for place, name in enumerate(classes) if theirs[place] in ours[:place] + ours[place + 1 :]]:
        cure = (
            f"Load it with those of the task: {_loading(classes)}"
            if isinstance(head, TellsClasses)
            else "Number the classes of the data set as the network has them, in its names and in its labels"
        )
        raise ValueError(
            f"the network's classes are {few(known)}, the task's {few(classes)}, in another order: {few(moved)} would "
            f"be taken for another one. {cure}"
        )
    cure = _loading(classes) if isinstance(head, TellsClasses) else "give it a head for those of the task, and train it"
    return (
        f"the network's classes are {few(known)}, the task's {few(classes)}: taken for the same, in this order. If "
        f"they are not: {cure}"
    )


def _loading(classes: Sequence[str]) -> str:
    listed = str(list(classes)) if len(classes) <= 8 else "task.classes"
    return f"fl.models.yolov5(weights=..., classes={listed})"


def _innermost(model: nn.Module) -> nn.Module:
    """Return the network within wrappers: fpgmlab's, and torch's, which call it ``module``."""
    while True:
        inner = held[1] if (held := wrapped(model)) is not None else getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _names_of(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's classes, in ``names`` as a sequence or by number; empty where it has none."""
    names = getattr(model, "names", None)
    if isinstance(names, Mapping):
        names = [names.get(number) for number in range(len(names))]
    told = names if isinstance(names, (tuple, list)) else ()
    return tuple(told) if all(isinstance(name, str) for name in told) else ()

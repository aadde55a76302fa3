"""Whether a network's outputs are what a task asks for: early, and in words."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fpgmlab.tasks.detection.heads import Head, YOLOv5Head


def classes_of(head: Head, outputs: object) -> int | None:
    """Return for how many classes a network was made; None when neither its head nor its outputs tell.

    Raises
    ------
    TypeError
        When the outputs are not those of such a head.
    """
    if not isinstance(head, YOLOv5Head):
        return getattr(head, "classes", None)
    maps = outputs if isinstance(outputs, (tuple, list)) and all(isinstance(m, Tensor) for m in outputs) else ()
    anchors = len(head.anchors[0])
    fits = len(maps) == len(head.strides) and all(m.ndim == 4 and m.shape[1] % anchors == 0 for m in maps)
    if not fits or maps[0].shape[1] < 6 * anchors:
        shapes = [tuple(m.shape) for m in maps] or getattr(outputs, "shape", type(outputs).__name__)
        raise TypeError(
            f"the network gives {shapes}; expected for each of {len(head.strides)} levels a raw map (batch, {anchors} "
            "* (5 + classes), rows, columns), as fpgmlab.models.yolov5 does. Other networks need another head: see "
            "fpgmlab.tasks.Detection"
        )
    return maps[0].shape[1] // anchors - 5


def check_classes(head: Head, outputs: object, classes: Sequence[str]) -> None:
    """Raise ValueError when the network was made for another number of classes than the task has; see `classes_of`."""
    made_for = classes_of(head, outputs)
    if made_for not in (None, len(classes)):
        listed = list(classes) if len(classes) <= 8 else "task.classes"
        ours = isinstance(head, YOLOv5Head)
        how = f"load it with those of the task, as by fpgmlab.models.yolov5(weights=..., classes={listed}), "
        how = how if ours else "give it a head for those of the task, with the library that it comes from, "
        raise ValueError(
            f"the network has {made_for} class{'es' if made_for > 1 else ''}, the task {len(classes)}: {how}and train "
            "it for them"
        )

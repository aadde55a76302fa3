"""What may be given to a detection task besides its data."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from fpgmlab.errors import few


def check_own_classes(sets: Mapping[str, object], names: tuple[str, ...], given: object) -> None:
    """Raise a `ValueError` for a data set whose ``classes`` are others than the task's, unless only counted ones."""
    for role, data in sets.items():
        own = tuple(getattr(data, "classes", names))
        if own != names and not (isinstance(given, int) and len(own) == given):
            raise ValueError(f"the classes of {role} must be {few(names)}; it has {few(own)}")


def check_head(head: object) -> None:
    """Raise a `TypeError` for what is no head: a network, a class, something else."""
    if isinstance(head, type):
        raise TypeError(
            f"head must be a head that is made; got the class {head.__name__}: {head.__name__}.of(model) makes it for "
            "a network, YOLOv5Head() with COCO's anchors"
        )
    if isinstance(head, nn.Module) or not (hasattr(head, "stride") and hasattr(head, "detections")):
        got = f"the network ({type(head).__name__})" if isinstance(head, nn.Module) else f"{head!r:.80}"
        raise TypeError(
            f"head must be what knows a detector's outputs; got {got}. Make it of the network: head=fl.tasks.YOLOv5Head"
            ".of(model), UltralyticsHead.of(model) or PPYOLOEHead.of(model)"
        )


def check_size(size: object, stride: int) -> None:
    """Raise a `ValueError` for a size that is not one whole number, or no multiple of the head's stride."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(
            f"size must be one whole number, the side of the square inputs in pixels, and a multiple of {stride}, the "
            f"head's stride; got {size!r}"
        )
    if size % stride:
        below = size // stride * stride
        near = f"{below} or {below + stride}" if below else str(stride)
        raise ValueError(f"size must be a multiple of {stride}, the head's stride; got {size}. The nearest: {near}")

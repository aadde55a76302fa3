"""What makes a detection task's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpgmlab.tasks.detection.heads import Head

if TYPE_CHECKING:
    from fpgmlab.tasks.detection.metric import BoxPrecision


@dataclass(frozen=True)
class Precision:
    """Makes a fresh metric; it can be sent to other processes."""

    head: Head
    kind: str
    unlabelled: bool
    classes: tuple[str, ...]
    detections: int

    def __call__(self) -> BoxPrecision:
        from fpgmlab.tasks.detection.metric import BoxPrecision

        return BoxPrecision(self.head, self.kind, self.unlabelled, self.classes, self.detections)


def precisions(head: Head, classes: tuple[str, ...], detections: int) -> dict[str, Precision]:
    """Return the mean average precisions, ``map50`` and ``map``, against labels and, ``agreement_``, without."""
    return {
        f"{prefix}{kind}": Precision(head, kind, bool(prefix), classes, detections)
        for prefix in ("", "agreement_")
        for kind in ("map50", "map")
    }

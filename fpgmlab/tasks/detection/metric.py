"""Mean average precision of detections, put together from batches; against labels or the unpruned network's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fpgmlab.common.numbers import whole_number
from fpgmlab.tasks.detection.crowded import MOST, kept
from fpgmlab.tasks.detection.heads import Head
from fpgmlab.tasks.detection.networks import check_classes, classes_of
from fpgmlab.tasks.detection.pictures import crowd_label

LOW, SURE = 0.001, 0.25  # least confidence of detections that are ranked, and of those that count as an answer
# In double precision: torchmetrics' own are rounded to single, and a recall of exactly 0.1 would miss its threshold.
OVERLAPS = np.linspace(0.5, 0.95, 10).tolist()
RECALLS = np.linspace(0, 1, 101).tolist()


@dataclass(frozen=True)
class Answers:
    """What is to be found in each picture: rows of label, left, top, right, bottom, (count, 5)."""

    rows: Sequence[Tensor]


class BoxPrecision(Metric):
    """COCO's mean average precision (Lin et al., 2014, arXiv:1405.0312) of a detector's outputs.

    The mean over classes of the area under the precision-recall curve, 101 points, the surest ``detections`` of a
    class in a picture; by torchmetrics and faster-coco-eval. What lies in the region of a crowd counts neither way. 0
    when there is nothing to find.

    Parameters
    ----------
    head : Head
        Makes detections of the network's outputs.
    kind : {"map50", "map"}
        A detection is right from an intersection over union of 0.5; or the mean over 0.5, 0.55, ... 0.95.
    unlabelled : bool
        ``update`` takes the outputs of the unpruned network in place of targets: what it detects with a confidence
        of at least 0.25 is what is to be found. 1 for the unpruned network itself.
    classes : sequence of str, optional
        Of the task: outputs of a network for another number are refused, except where ``unlabelled``.
    detections : int
        How many of a class in a picture count; 100 in COCO's evaluation.
    """

    # An instance has its own only where it is another: by these a stored sweep knows its metrics again.
    detections = MOST

    higher_is_better = True
    share = True
    full_state_update = False

    def __init__(
        self,
        head: Head,
        kind: str = "map50",
        unlabelled: bool = False,
        classes: Sequence[str] | None = None,
        detections: int = MOST,
    ) -> None:
        super().__init__()
        if kind not in ("map50", "map"):
            raise ValueError(f"kind must be 'map50' or 'map'; not {kind!r}")
        self.head, self.kind, self.unlabelled, self.classes = head, kind, unlabelled, classes
        if whole_number("detections", detections) != MOST:
            self.detections = detections
        for name in ("found", "found_counts", "wanted", "wanted_counts"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, outputs: object, targets: object) -> None:
        """Add a batch: targets as in `fpgmlab.tasks.Detection`; where ``unlabelled`` outputs, or `answers` of them."""
        if self.unlabelled or self.classes is None:
            classes_of(self.head, outputs)
        else:
            check_classes(self.head, outputs, self.classes)
        found = self._detected(outputs, LOW)
        if self.unlabelled:
            wanted = list((targets if isinstance(targets, Answers) else self.answers(targets)).rows)
        else:
            wanted = [rows[rows[:, 0] != -1] for rows in cast(Tensor, targets)]
        for name, pictures in (("found", found), ("wanted", wanted)):
            getattr(self, name).append(torch.cat(pictures))
            counts = torch.tensor([len(rows) for rows in pictures], device=pictures[0].device)
            getattr(self, f"{name}_counts").append(counts)

    def answers(self, outputs: object) -> Answers:
        """Return what counts of the unpruned network's outputs: to be given to many `update` in their place."""
        return Answers([rows[:, :5] for rows in self._detected(outputs, SURE)])

    def compute(self) -> Tensor:
        """Return the mean average precision, 0 to 1."""
        from torchmetrics.detection import MeanAveragePrecision

        found, wanted = list(self._by_picture("found")), self._by_picture("wanted")
        there = torch.cat(wanted)[:, 0].unique()
        there = there[there >= 0]
        if not len(there):
            return torch.tensor(0.0)
        found = [rows[torch.isin(rows[:, 0], there)] for rows in found]  # other classes have no precision: for speed
        overlaps = OVERLAPS[:1] if self.kind == "map50" else OVERLAPS
        metric = MeanAveragePrecision(
            iou_thresholds=overlaps,
            rec_thresholds=RECALLS,
            max_detection_thresholds=[1, min(10, self.detections), self.detections],  # the last counts for precision
            backend="faster_coco_eval",
            sync_on_compute=False,  # what there is to gather of other processes has been
        )
        metric.warn_on_many_detections = False
        metric.update(
            [{"boxes": rows[:, 1:5], "scores": rows[:, 5], "labels": rows[:, 0].long()} for rows in found],
            [_truth(rows) for rows in wanted],
        )
        values = metric.compute()
        return values["map_50" if self.kind == "map50" else "map"].clamp(min=0)

    def _detected(self, outputs: object, confidence: float) -> list[Tensor]:
        """Return the detections of each picture that count, (count, 6)."""
        limit = kept(self.detections)
        # A head that knows no limit serves as long as nobody asks for more than the usual.
        more = {} if limit == kept(MOST) else {"limit": limit}
        return [_strongest(_rows(one), self.detections) for one in self.head.detections(outputs, confidence, **more)]

    def _by_picture(self, name: str) -> tuple[Tensor, ...]:
        rows, counts = dim_zero_cat(getattr(self, name)), dim_zero_cat(getattr(self, f"{name}_counts"))
        return rows.cpu().split(counts.tolist())


def _rows(detections: Mapping[str, Tensor]) -> Tensor:
    """Return detections as rows of label, left, top, right, bottom, score."""
    boxes, scores, labels = (detections[name].float() for name in ("boxes", "scores", "labels"))
    return torch.cat([labels[:, None], boxes, scores[:, None]], dim=1)


def _truth(rows: Tensor) -> dict[str, Tensor]:
    """Return rows of label, left, top, right, bottom as torchmetrics takes them."""
    labels = rows[:, 0].long()
    crowd = labels < 0
    return {"boxes": rows[:, 1:], "labels": torch.where(crowd, crowd_label(labels), labels), "iscrowd": crowd.long()}


def _strongest(rows: Tensor, count: int) -> Tensor:
    """Return the surest rows of each class, so many."""
    rows = rows[rows[:, 5].argsort(descending=True, stable=True)]
    return torch.cat([rows[rows[:, 0] == label][:count] for label in rows[:, 0].unique()] or [rows])

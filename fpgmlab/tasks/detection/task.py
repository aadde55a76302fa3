"""Object detection: pictures with boxes, a detector's own loss, and mean average precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fpgmlab.common.numbers import whole_number
from fpgmlab.common.warned import warn
from fpgmlab.tasks.detection.augment import BoxAugment, Boxed, fitted
from fpgmlab.tasks.detection.crowded import MOST, classes_in, labels_of, nothing_labelled, objects_of, too_full
from fpgmlab.tasks.detection.heads import Head, YOLOv5Head
from fpgmlab.tasks.detection.items import check_counts, checked, stacked
from fpgmlab.tasks.detection.networks import check_classes, check_network
from fpgmlab.tasks.detection.options import check_head, check_own_classes, check_size
from fpgmlab.tasks.detection.precision import precisions
from fpgmlab.tasks.loading import in_order
from fpgmlab.tasks.overlap import warn_of_shared
from fpgmlab.tasks.parting import warn_of_empty
from fpgmlab.tasks.sets import Examples, check_sets, class_names
from fpgmlab.tasks.shuffling import WHOLE, Share, Shuffled
from fpgmlab.tasks.splits import Splits

if TYPE_CHECKING:
    from torch import nn
    from torchmetrics import Metric

EVAL_BATCH, FEWEST_BATCHES = 16, 4
YOLOV5 = YOLOv5Head()
LIGHT = BoxAugment()


@dataclass(frozen=True, eq=False, repr=False)
class Detection(Splits):
    """A detection task: pictures with boxes to train, choose and test with, loss and mean average precision.

    Inputs are RGB from 0 to 1, (batch, 3, size, size): letterboxed with grey 114 to validate, augmented to train.
    Targets are one tensor (batch, boxes, 5): label, left, top, right, bottom in pixels of the input. Label -1 is in
    rows that only fill up; -2 - c marks a region with a crowd of class c (COCO's ``iscrowd``): background to the loss,
    as in YOLOv5's training, and what is found there counts neither way.

    For `fpgmlab.sweep` it has the metrics ``"map50"`` and ``"map"``, and without labels ``"agreement_map50"`` and
    ``"agreement_map"``, which take for true what the unpruned network detects, with a confidence of at least 0.25.

    Parameters
    ----------
    train, val, test : torch.utils.data.Dataset
        Map-style data sets of ``(image, boxes, labels)``: uint8 (3, height, width), of any size; left, top, right,
        bottom in pixels, (count, 4); int64 (count,). See `fpgmlab.tasks.coco_boxes`, `fpgmlab.tasks.yolo_boxes`.
        Nothing reads ``test`` but ``fl.evaluate(..., split="test")``; it may be left out. See `holdout`.
    classes : int or sequence of str, optional
        Their number or names; taken from ``val.classes`` when it has them.
    size : int
        Side of the square inputs, in pixels: a multiple of ``head.stride``.
    head : Head
        The loss and the decoding of a family of detectors (see `fpgmlab.tasks.detection.heads`): YOLOv5's with COCO's
        anchors, or ``YOLOv5Head.of(model)`` for a network with others; ``UltralyticsHead.of(model)``,
        ``PPYOLOEHead.of(model)``.
    augment : BoxAugment, optional
        What is done to training pictures; without it they are letterboxed.
    name : str
        Shown in tables and file names.
    metrics : mapping of str to callable, optional
        More metrics for `fpgmlab.sweep`, as in `fpgmlab.tasks.Classification`, of the outputs and targets.
    detections : int
        How many detections of a class in a picture count in the mean average precision, the surest; of all classes
        together three times as many are kept, or 300. 100 as COCO has it. One warning names a picture to validate
        or test with that holds more objects than can count: at once where the data set tells its labels, else when it
        is read.

    Raises
    ------
    TypeError, ValueError
        When a data set is not map-style or is empty, the classes are not known or differ, or size or head does not fit.

    Warns
    -----
    UserWarning
        Of pictures to validate or test with that are trained on, where their files are told.
    """

    classes: int | Sequence[str] | None = None
    size: int = 416
    head: Head = YOLOV5
    augment: BoxAugment | None = LIGHT
    name: str = "detection"
    metrics: Mapping[str, Callable[[], Metric]] = field(default_factory=dict)
    detections: int = MOST
    _names: tuple[str, ...] = field(init=False, repr=False)  # the classes, once they are known
    _told: bool = field(init=False, repr=False, default=False)  # of pictures that hold more objects than can count
    _doubted: bool = field(init=False, repr=False, default=False)  # told of other class names, or of no objects

    metric_name = "map50"
    higher_is_better = True
    usual_metrics = ("agreement_map50", "change")  # of a sweep: they need no labels
    train_batch_size = 8

    def __post_init__(self) -> None:
        check_sets(self.train, self.val, self.test)
        names = class_names(self.classes, self.val, 1, "detection")
        check_own_classes({"train": self.train, "val": self.val, "test": self.test}, names, self.classes)
        check_head(self.head)
        check_size(self.size, self.head.stride)
        object.__setattr__(self, "classes", names)
        object.__setattr__(self, "_names", names)
        whole_number("detections", self.detections)
        judged = [data for data in (self.val, self.test) if data is not None]
        labels = ((data, number, labels_of(data, number)) for data in judged for number in range(len(data)))
        self._tell_of_crowded(labels)
        own_metrics = precisions(self.head, names, self.detections)
        object.__setattr__(self, "metrics", {**self.metrics, **own_metrics})
        warn_of_shared(self.train, self.val, self.test, self.name)

    def _held_out(self, n: int, seed: int) -> list[int]:
        held = super()._held_out(n, seed)
        inside = [classes_in(self.train, number) for number in range(len(self.train))]
        warn_of_empty(inside, held, self._names, self.name)
        return held

    @property
    def eval_batch_size(self) -> int:
        """Pictures in a forward pass: 16, fewer where four batches need it: a sweep's intervals are between batches."""
        return max(1, min(EVAL_BATCH, len(self.val) // FEWEST_BATCHES))

    @cached_property
    def example_input(self) -> Tensor:
        """One validation picture, (1, 3, size, size)."""
        return next(self.val_batches(1, 1))[0]

    def train_batches(self, batch_size: int = 16, seed: int = 0, workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training data once, shuffled and augmented: pictures (batch, 3, size, size), (batch, boxes, 5).

        It takes batch size, seed and workers as `fpgmlab.tasks.Classification.train_batches` does.
        """
        return in_order(self, batch_size, seed, workers)

    def shuffled(self, batch_size: int, seed: int, share: Share = WHOLE) -> Shuffled:
        """Return the batches of `train_batches` by their number.

        It takes batch size, seed and share as `fpgmlab.tasks.Classification.shuffled` does.

        Raises
        ------
        ValueError
            For a batch size below 1.
        """
        check_counts(batch_size=batch_size)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed)).tolist()
        return Shuffled(order, batch_size, seed, self._augmented, share)

    def _augmented(self, numbers: Sequence[int], part: slice, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        count = len(self.train)
        # Each picture has a generator of its own, so that no process need read what others train on.
        seeds = torch.randint(2**62, (len(numbers),), generator=generator)[part].tolist()

        def another() -> Boxed:
            return self._read(self.train, int(torch.randint(count, (), generator=generator)))

        pictures = []
        for number, seed in zip(numbers[part], seeds, strict=True):
            generator.manual_seed(seed)
            picture = self._read(self.train, number)
            if self.augment is None:
                pictures.append(fitted(picture, self.size))
            else:
                pictures.append(self.augment(picture, self.size, generator, another))
        return stacked(pictures)

    def val_batches(self, batch_size: int = 16, max_samples: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation data letterboxed, ``batch_size`` at a time, or its first ``max_samples`` pictures.

        Pictures (batch, 3, size, size) and targets (batch, boxes, 5).
        """
        return self._in_order(self.val, batch_size, max_samples)

    def _in_order(self, data: Examples, batch_size: int, max_samples: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        check_counts(batch_size=batch_size, max_samples=max_samples)
        count = len(data) if max_samples is None else min(max_samples, len(data))
        for start in range(0, count, batch_size):
            numbers = range(start, min(start + batch_size, count))
            pictures = [self._read(data, i) for i in numbers]
            found = ((data, i, labels) for i, (_, _, labels) in zip(numbers, pictures, strict=True))
            self._tell_of_crowded(found)
            yield stacked([fitted(picture, self.size) for picture in pictures])

    def loss(self, outputs: object, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Return the head's loss of a batch.

        Parameters
        ----------
        outputs : object
            What the network gave, as the head reads it.
        targets : Tensor, (batch, boxes, 5)
        reduction : {"mean", "none"}

        Returns
        -------
        Tensor
            A scalar, or with ``"none"`` the loss of each picture, (batch,).

        Raises
        ------
        ValueError
            For a network of another number of classes.
        """
        check_classes(self.head, outputs, self._names)
        if reduction == "mean":
            return self.head.loss(outputs, targets)
        return torch.stack([self.head.loss(_of_one(outputs, i), targets[i : i + 1]) for i in range(len(targets))])

    def check_network(self, model: nn.Module, labelled: bool = True) -> None:
        """Look at a model before it is run, held against labels or not.

        Raises
        ------
        ValueError
            For other anchors than the head's; where labelled, for other classes, or the same in another order.

        Warns
        -----
        UserWarning
            Once, where labelled, for classes of other names, and when no picture to judge by has an object.
        """
        doubts = [check_network(self.head, model, self._names, labelled)]
        if self._doubted:
            return
        doubts += nothing_labelled(self.val, self.test) if labelled else []
        for doubt in filter(None, doubts):
            warn(f"{self.name}: {doubt}")
        object.__setattr__(self, "_doubted", any(doubts))

    def metric(self) -> Metric:
        """Return a fresh metric: the mean average precision at an intersection over union of 0.5."""
        return self.metrics["map50"]()

    def _tell_of_crowded(self, found: Iterable[tuple[Examples, int, Tensor | None]]) -> None:
        """Warn, once, of the picture whose objects need the most detections, when that is too many."""
        if self._told:
            return
        if words := too_full(found, self._names, self.detections):
            object.__setattr__(self, "_told", True)
            warn(f"{self.name}: {words}")

    def _labels_of(self, data: Examples) -> list[int]:
        return objects_of(data)

    def _read(self, data: Examples, number: int) -> Boxed:
        return checked(data[number], f"{self.name}: picture {number}", len(self._names))


def _of_one(outputs: object, number: int) -> object:
    return tree_map_only(Tensor, lambda tensor: tensor[number : number + 1], outputs)

"""Image classification: cross entropy, accuracy, and any pair of torch data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from fpgmlab.tasks.loading import in_order
from fpgmlab.tasks.overlap import warn_of_shared
from fpgmlab.tasks.parting import held_out, mixed
from fpgmlab.tasks.sets import Examples, as_dataset, check_sets, class_names, labels_of, told_labels
from fpgmlab.tasks.shuffling import WHOLE, Share, Shuffled
from fpgmlab.tasks.splits import Splits
from fpgmlab.tasks.stacking import no_image, read, stacked

if TYPE_CHECKING:
    from torchmetrics import Metric

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Splits):
    """A classification task: data to train, choose and test with, loss and metric.

    Parameters
    ----------
    train, val, test : torch.utils.data.Dataset
        Map-style data sets of ``(image, label)``: a float tensor ``(channels, height, width)`` and an
        integer ``0 <= label < classes``. All images of a set have one size. Nothing reads ``test`` but
        ``fl.evaluate(..., split="test")``; it may be left out. See `holdout`.
    classes : int or sequence of str, optional
        Their number or names; taken from ``val.classes`` when it has them.
    augment : callable, optional
        ``(images, generator) -> images`` on a training batch ``(batch, channels, height, width)``; of the generator,
        which each batch has of its own, comes all that is random.
    name : str
        Shown in tables and file names.
    metrics : mapping of str to callable, optional
        More metrics for `fpgmlab.sweep`, by name: each a function that returns a fresh torchmetrics metric of logits
        and labels, such as ``{"f1": lambda: MulticlassF1Score(num_classes=10)}``.
    stratified : bool
        Whether `holdout` takes of each class its share, or draws from all alike.

    Raises
    ------
    TypeError, ValueError
        When a data set is not map-style or is empty, or the classes are not known.

    Warns
    -----
    UserWarning
        Of pictures to validate or test with that are trained on, where their files are told.
    """

    classes: int | Sequence[str] | None = None
    augment: Augment | None = None
    name: str = "classification"
    metrics: Mapping[str, Callable[[], Metric]] = field(default_factory=dict)
    stratified: bool = True
    _names: tuple[str, ...] = field(init=False, repr=False)  # the classes, once they are known

    metric_name = "accuracy"
    higher_is_better = True

    def __post_init__(self) -> None:
        check_sets(self.train, self.val, self.test)
        warn_of_shared(self.train, self.val, self.test, self.name)
        names = class_names(self.classes, self.val, 2, "classification")
        object.__setattr__(self, "classes", names)
        object.__setattr__(self, "_names", names)

    def _labels_of(self, data: Examples) -> list[int]:
        return labels_of(data)

    def _held_out(self, n: int, seed: int) -> list[int]:
        labels = told_labels(self.train) if self.stratified else None
        if labels is None:
            return super()._held_out(n, seed)
        return held_out(labels, n, seed, self._names, self.name)

    @cached_property
    def example_input(self) -> Tensor:
        """One validation image, (1, channels, height, width).

        Raises
        ------
        TypeError
            When the data set gives something else.
        """
        image = self.val[0][0]
        if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
            raise no_image(image, self.name, "val[0]")
        return image.unsqueeze(0)

    def train_batches(self, batch_size: int = 128, seed: int = 0, workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training data once, shuffled and augmented: images (batch, c, h, w), labels (batch,).

        Parameters
        ----------
        batch_size : int
            Images in a batch; a smaller last one is left out, unless it is the only one.
        seed : int
            Of the order and the augmentation.
        workers : int
            Processes that read ahead; the batches are the same for any number.
        """
        return in_order(self, batch_size, seed, workers)

    def shuffled(self, batch_size: int, seed: int, share: Share = WHOLE) -> Shuffled:
        """Return the batches of `train_batches` by their number.

        Parameters
        ----------
        batch_size, seed
            As of `train_batches`.
        share : Share
            Which part of each batch, where several processes share it; all of it when left out.
        """
        generator = torch.Generator().manual_seed(seed)
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # the order that a DataLoader would have
        order = torch.randperm(len(self.train), generator=generator).tolist()
        return Shuffled(order, batch_size, seed, self._augmented, share)

    def _augmented(self, numbers: Sequence[int], part: slice, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return some examples of a batch; only an augmentation that we know treats each image by itself."""
        alone = self.augment is None or isinstance(self.augment, ShiftAndFlip)
        images, labels = read(self.train, numbers[part] if alone else numbers, self.name)
        self._check_labels(labels)
        if isinstance(self.augment, ShiftAndFlip):
            return self.augment(images, generator, part, len(numbers)), labels
        if self.augment is not None:
            return self.augment(images, generator)[part], labels[part]
        return images, labels

    def val_batches(self, batch_size: int = 256, max_samples: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation data in order, ``batch_size`` at a time, or its first ``max_samples`` examples.

        Images (batch, channels, height, width) and labels (batch,), as `train_batches` does; the last batch may be
        smaller. Data that lie class by class, as pictures in folders do, are in a mixed order, always the same.
        """
        return self._in_order(self.val, batch_size, max_samples)

    def _in_order(self, data: Examples, batch_size: int, max_samples: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        part, order = as_dataset(data), mixed(told_labels(data))  # the first of pictures by class have one class only
        if order is not None or max_samples is not None:
            part = Subset(part, (order or range(len(data)))[:max_samples])
        for images, labels in DataLoader(part, batch_size, collate_fn=partial(stacked, name=self.name)):
            self._check_labels(labels)
            yield images, labels

    def _check_labels(self, labels: Tensor) -> None:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self._names):
            raise ValueError(
                f"{self.name}: label {low if low < 0 else high} is out of range; "
                f"with {len(self._names)} classes labels must be 0 to {len(self._names) - 1}"
            )

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Return the cross entropy, in nats.

        Parameters
        ----------
        outputs : Tensor, (batch, classes)
            Logits.
        targets : Tensor, (batch,)
            Labels.
        reduction : {"mean", "none", "sum"}

        Returns
        -------
        Tensor
            A scalar, or with ``"none"`` (batch,).

        Raises
        ------
        ValueError
            For outputs of another shape or kind.
        """
        if not isinstance(outputs, Tensor):
            many = f" of {len(outputs)}" if isinstance(outputs, (tuple, list, dict)) else ""
            raise ValueError(
                f"{self.name}: the model must give logits (batch, {len(self._names)}); got a {type(outputs).__name__}"
                f"{many}. If it is a detector, give it a task with boxes, fl.tasks.Detection; if it gives more than "
                "its logits, wrap it in a module that returns them alone"
            )
        if outputs.ndim != 2 or outputs.shape[1] != len(self._names):
            raise ValueError(
                f"{self.name}: the model must give logits (batch, {len(self._names)}); got {tuple(outputs.shape)}"
                + (f". {_NEW_HEAD.format(outputs.shape[1], len(self._names))}" if outputs.ndim == 2 else "")
            )
        return F.cross_entropy(outputs.float(), targets, reduction=reduction)

    def metric(self) -> Metric:
        """Return a fresh torchmetrics accuracy (fraction of correct top-1 answers)."""
        from torchmetrics.classification import MulticlassAccuracy

        return MulticlassAccuracy(num_classes=len(self._names), average="micro")


_NEW_HEAD = (
    "Its {0} outputs are not these {1} classes: give it a new last layer and train that, such as model.fc = "
    "torch.nn.Linear(model.fc.in_features, {1}); in other networks it is called model.classifier[-1] or model.head"
)


@dataclass(frozen=True)
class ShiftAndFlip:
    """Shift each image by up to ``pixels`` and, with ``flip``, mirror half of them."""

    pixels: int = 2
    flip: bool = True

    def __call__(
        self, images: Tensor, generator: torch.Generator, part: slice = slice(None), count: int | None = None
    ) -> Tensor:
        """Return the images (batch, channels, height, width) augmented; they may be a part of a batch of ``count``."""
        count = len(images) if count is None else count
        height, width = images.shape[2:]
        padded = F.pad(images, [self.pixels] * 4, mode="replicate")
        top, left = torch.randint(0, 2 * self.pixels + 1, (2, count, 1), generator=generator)[:, part]
        rows = top + torch.arange(height)  # (batch, height)
        columns = left + torch.arange(width)  # (batch, width)
        if self.flip:
            mirrored = (torch.rand(count, 1, generator=generator) < 0.5)[part]
            columns = torch.where(mirrored, columns.flip(1), columns)
        batch = torch.arange(len(images))[:, None, None]
        moved = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]  # (batch, h, w, c)
        return moved.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)


def shift_and_flip(pixels: int = 2, flip: bool = True) -> ShiftAndFlip:
    """Return an augmentation that shifts each image by up to ``pixels`` and, with ``flip``, mirrors half of them."""
    return ShiftAndFlip(pixels, flip)

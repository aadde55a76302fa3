"""What each part of a task's data is for: to train on, to choose by, and to measure with at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from torch.utils.data import Subset

from fpgmlab.common.numbers import whole_number
from fpgmlab.errors import few, one_of
from fpgmlab.tasks.parting import shuffled
from fpgmlab.tasks.sets import Examples, as_dataset, drawn
from fpgmlab.tasks.task import EVAL_BATCH, Task

if TYPE_CHECKING:
    from pandas import DataFrame

Batches = Callable[[int, int | None], Iterator[tuple[Any, Any]]]


def batches_of(task: Task, split: str) -> Batches:
    """Return what yields a task's validation or test data in order, by batch size and most samples.

    Raises
    ------
    ValueError
        For another split, and for ``"test"`` where the task has no test data.
    """
    if split == "val":
        return task.val_batches
    if split != "test":
        raise ValueError(one_of("split", split, ("val", "test")))
    _test_of(task)
    batches: Batches | None = getattr(task, "test_batches", None)
    if batches is None:
        raise ValueError(
            f"{type(task).__name__} has test data (task.test), but no test_batches(batch_size, max_samples) that "
            "yields them, as val_batches does"
        )
    return batches


@dataclass(frozen=True, eq=False)
class Splits(ABC):
    """The data of a task and how they are parted; see `fpgmlab.tasks.Classification`."""

    train: Examples
    val: Examples
    test: Examples | None = field(default=None, kw_only=True)

    @property
    def eval_batch_size(self) -> int:
        """Examples in a forward pass where nobody asks for another number."""
        return EVAL_BATCH

    def __repr__(self) -> str:
        names = tuple(getattr(self, "classes", ()))
        tested = f", {len(self.test)} to test with" if self.test is not None else ""
        return (
            f"{type(self).__name__} {_name_of(self)!r}: {len(self.train)} examples to train on, {len(self.val)} to "
            f"validate{tested}; {len(names)} class{'' if len(names) == 1 else 'es'} ({few(names, 10, quoted=False)})"
        )

    def counts(self) -> DataFrame:
        """Return how much of each class there is to train on, to validate and to test with.

        Examples; of detection, objects: those in crowds do not count.

        Examples
        --------
        >>> fl.tasks.fashion_mnist(holdout=5000).counts().sum().to_dict()
        {'train': 55000, 'val': 5000, 'test': 10000}
        """
        from pandas import DataFrame

        names = tuple(getattr(self, "classes", ()))
        sets = {"train": self.train, "val": self.val} | ({} if self.test is None else {"test": self.test})
        labels = {split: Counter(self._labels_of(data)) for split, data in sets.items()}
        counts = {split: [own[number] for number in range(len(names))] for split, own in labels.items()}
        return DataFrame(counts, index=names)

    @abstractmethod
    def _labels_of(self, data: Examples) -> list[int]:
        """Return the label of each example, or object."""

    def holdout(self, n: int, seed: int = 0) -> Self:
        """Return the same task with a validation set of its own: drawn from the training data, the old one to test.

        What is chosen by the validation data (epochs, ratios, plans) looks better on them than it is. Choose by these,
        and measure once, at the end, with ``fl.evaluate(model, task, split="test")``.

        Where a classification's data set tells its labels (``labels``, ``targets``), of each class its share is held
        out, at least one example where it has two; see `Classification.stratified`. Pictures with boxes, and what would
        have to be read for its labels, are drawn all alike.

        Parameters
        ----------
        n : int
            How many training examples become the validation data; the others stay, in their order.
        seed : int
            Of the draw. The same for a network's training and for all that is measured of it: another draw would
            choose by pictures that it was trained on.

        Raises
        ------
        ValueError
            When there are not more than ``n`` training examples, or there are test data already.

        Warns
        -----
        UserWarning
            When a class has no example in one of the parts, with its name.

        Examples
        --------
        >>> held = task.holdout(5000)
        >>> len(held.train), len(held.val), len(held.test)
        (55000, 5000, 10000)
        """
        name = _name_of(self)
        if self.test is not None:
            raise ValueError(
                f"{name} has test data already ({len(self.test)} examples), and validation data to choose by "
                f"({len(self.val)}): use it as it is, or make the task without test= first"
            )
        count = len(self.train)
        if whole_number("the number of examples to hold out", n) >= count:
            raise ValueError(
                f"{n} examples cannot be held out: {name} has {count} to train on, and at least one must stay"
            )
        held, data = self._held_out(n, seed), as_dataset(self.train)
        stay = sorted(set(range(count)).difference(held))
        return replace(self, train=Subset(data, stay), val=Subset(data, held), test=self.val)

    def _held_out(self, n: int, seed: int) -> list[int]:
        """Return the numbers of the training examples that `holdout` takes, ascending."""
        return sorted(shuffled(len(self.train), seed)[:n])

    def subset(
        self, train: int | None = None, val: int | None = None, seed: int = 0, *, test: int | None = None
    ) -> Self:
        """Return the same task on a random part of its data, without replacement.

        Parameters
        ----------
        train, val, test : int, optional
            How many examples to keep; all of what is left out.
        seed : int
            Of the draw.

        Raises
        ------
        ValueError
            For more examples than there are, or none.

        Examples
        --------
        >>> small = task.subset(train=256, val=64)
        >>> len(small.train), len(small.val)
        (256, 64)
        """
        name = _name_of(self)
        return replace(
            self,
            train=drawn(self.train, train, seed, "train", name),
            val=drawn(self.val, val, seed, "val", name),
            test=self.test if test is None else drawn(_test_of(self), test, seed, "test", name),
        )

    def test_batches(self, batch_size: int | None = None, max_samples: int | None = None) -> Iterator[Any]:
        """Yield the test data in order, or its first ``max_samples`` examples, as ``val_batches`` does with its own.

        Without ``batch_size``, ``eval_batch_size`` at a time.

        Raises
        ------
        ValueError
            When the task has none.
        """
        return self._in_order(_test_of(self), self.eval_batch_size if batch_size is None else batch_size, max_samples)

    @abstractmethod
    def _in_order(self, data: Examples, batch_size: int, max_samples: int | None) -> Iterator[Any]:
        """Yield inputs and targets of data that are judged by."""


def _test_of(task: object) -> Examples:
    """Return a task's test data; ValueError where it has none."""
    test: Examples | None = getattr(task, "test", None)
    if test is None:
        ways = "give it test=..., make it with holdout=..." if isinstance(task, Splits) else "give it task.test"
        raise ValueError(f"{_name_of(task)} has no test data: {ways}, or measure on its validation data, split='val'")
    return test


def _name_of(task: object) -> str:
    return str(getattr(task, "name", type(task).__name__))

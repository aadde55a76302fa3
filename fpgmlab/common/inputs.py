"""Inputs alone, without labels, from whatever holds them: a task, a data set, a loader, batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fpgmlab.common.batches import examples_in
from fpgmlab.common.modules import tensors_in
from fpgmlab.common.warned import warn

USUAL_BATCH = 128


def inputs_of(data: Any, samples: int, seed: int = 0, *, at_most: bool = False) -> list[object]:
    """Return batches of inputs with so many examples in all; labels are not looked at.

    Parameters
    ----------
    data : task, data set, iterable of batches
        Of a task the training data as `fpgmlab.fit` sees them, shuffled and augmented; where its data are augmented and
        too few, more passes over them. Of a data set a random part, of items that are inputs or begin with them. Of an
        iterable, such as a ``DataLoader`` or a list, the first ones, each the inputs or a tuple or list beginning with
        them.
    samples : int
        Examples in all.
    seed : int
        Of the order, and of a task's augmentation.
    at_most : bool
        Fewer examples are as good, and no warning is given.

    Raises
    ------
    ValueError
        When there is no example, with what there is instead.
    TypeError
        For what is none of these.

    Warns
    -----
    UserWarning
        When there are fewer examples than asked for, unless ``at_most``.
    """
    batches: list[object] = []
    there = 0
    for inputs in _all_of(data, samples, seed):
        size = examples_in(inputs)
        batches.append(inputs if size <= samples - there else _some(inputs, slice(samples - there), size))
        there += min(size, samples - there)
        if there == samples:
            return batches
    if not there:
        raise ValueError(f"{type(data).__name__} gave no example: at least one is needed. Labels are not.")
    if not at_most:
        warn(f"only {there} of the {samples} examples asked for are there")
    return batches


def parts_of(batch: object, most: int) -> list[object]:
    """Return a batch in parts of about the same size, none of more than so many examples; they share its memory."""
    size = examples_in(batch)
    count = math.ceil(size / most)
    ends = [size * i // count for i in range(count + 1)]
    return [batch] if count < 2 else [_some(batch, slice(*ends[i : i + 2]), size) for i in range(count)]


def all_alike(batches: Sequence[object]) -> bool:
    """Tell whether there are several examples, and each is the same as the first."""
    examples = (example for batch in batches for example in _examples(batch))
    first = next(examples, [])
    second = next(examples, None)
    if second is None:
        return False
    return all(
        len(other) == len(first)
        and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, other, strict=True))
        for other in (second, *examples)
    )


def _all_of(data: Any, samples: int, seed: int) -> Iterator[object]:
    if hasattr(data, "train_batches"):
        return _of_task(data, samples, seed)
    if (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (list, tuple, dict, str, Tensor))
    ):
        return _of_data_set(data, samples, seed)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict, Tensor)):
        return (_inputs(batch) for batch in data)
    raise TypeError(
        "data must be a task, a data set, a data loader or a list of batches (each a tensor (examples, ...), or a "
        f"tuple that begins with one); got a {type(data).__name__}"
    )


def _of_task(task: Any, samples: int, seed: int) -> Iterator[object]:
    if len(task.train) == 0:
        raise ValueError(
            f"{type(task).__name__} has no training data (task.train is empty). Its validation data are not taken in "
            "their place: what is judged on them later would not be new. Pass such pictures as a list of batches."
        )
    there = len(task.train)
    usual = getattr(task, "train_batch_size", USUAL_BATCH)
    size = max(1, min(there // math.ceil(there / usual), samples))  # tasks leave out a smaller last batch
    for turn in count():
        found = False
        for inputs, _ in task.train_batches(size, seed=seed if not turn else seed * 10007 + turn):
            found = True
            yield inputs
        if not found or getattr(task, "augment", None) is None:
            return


def _of_data_set(data: Any, samples: int, seed: int) -> Iterator[object]:
    from torch.utils.data import default_collate

    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:samples].tolist()
    for start in range(0, len(order), USUAL_BATCH):
        yield default_collate([_inputs(data[i]) for i in order[start : start + USUAL_BATCH]])


def _inputs(item: object) -> object:
    return item[0] if isinstance(item, (tuple, list)) and item else item


def _examples(batch: object) -> Iterator[list[Tensor]]:
    """Yield the tensors of each example of a batch."""
    size = examples_in(batch)
    for i in range(size):
        if isinstance(batch, list) and len(batch) == size:
            yield list(tensors_in(batch[i]))
        else:
            yield [t[i] for t in tensors_in(batch) if t.ndim and len(t) == size]


def _some(inputs: object, which: slice, size: int) -> object:
    """Return some examples of a batch; all of what is not laid out by example."""
    if isinstance(inputs, list) and len(inputs) == size:
        return inputs[which]
    return tree_map_only(Tensor, lambda t: t[which] if t.ndim and len(t) == size else t, inputs)

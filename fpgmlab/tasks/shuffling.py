"""The training batches of an epoch: shuffled, in parts, each with a generator of its own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fpgmlab.common.batches import examples_in

Batch = tuple[Any, Any]  # inputs and targets
Share = tuple[
    int, int
]  # the number of this process, from 0, and how many there are: each takes every so manieth example
WHOLE: Share = (0, 1)


class Shuffled(Sequence[Batch]):
    """The training batches of an epoch, any of which can be asked for by its number.

    A smaller last batch is left out: one example would break batch norm on 1x1 maps. A set smaller than a batch is
    kept whole. Whatever draws from torch's, numpy's or Python's global generator while a batch is made is seeded by
    that batch; the generators are as before afterwards.

    Parameters
    ----------
    order : sequence of int
        The numbers of the examples, shuffled.
    batch_size : int
    seed : int
        Of what is drawn while a batch is made.
    make : callable
        ``(numbers, part, generator) -> inputs, targets`` of the examples ``numbers[part]``, where ``numbers`` are those
        of the whole batch, for which it shall draw.
    share : (int, int)
        Which part of each batch is made: that of process 0, 1, ... of so many.
    """

    def __init__(
        self,
        order: Sequence[int],
        batch_size: int,
        seed: int,
        make: Callable[[Sequence[int], slice, torch.Generator], Batch],
        share: Share = WHOLE,
    ) -> None:
        self._order, self._size, self._seed, self._make, self._share = order, batch_size, seed, make, share

    def __len__(self) -> int:
        return max(1, len(self._order) // self._size)

    def __iter__(self) -> Iterator[Batch]:
        return (self[number] for number in range(len(self)))  # an IndexError of a data set is none of ours

    def __getitem__(self, number: Any) -> Any:  # no slices; the types of Sequence
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} batches; not one with the number {number}")
        numbers = self._order[number * self._size : (number + 1) * self._size]
        seed = mixed(self._seed, number)
        with _global_generators(seed):
            return self._make(
                numbers, slice(*self._share[:1], None, self._share[1]), torch.Generator().manual_seed(seed)
            )


def mixed(*numbers: int) -> int:
    """Return a seed from several numbers; near ones give unlike seeds."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "big")


def part_of(inputs: Any, targets: Any, part: slice) -> Batch:
    """Return some examples of a batch: of each tensor that has as many rows as the batch examples, and of each list."""
    count = examples_in(inputs, targets)

    def cut(value: Any) -> Any:
        if isinstance(value, list) and len(value) == count:
            return value[part]
        return tree_map_only(Tensor, lambda t: t[part] if t.ndim and len(t) == count else t, value)

    return cut(inputs), cut(targets)


@contextmanager
def _global_generators(seed: int) -> Iterator[None]:
    """Seed the generators that data sets draw from; they are as before on exit."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - theirs, not ours
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])

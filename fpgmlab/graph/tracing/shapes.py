"""Two shapes of the same numbers: which dimensions of one become which of the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod
from operator import mul

import numpy as np

Block = tuple[list[int], list[int]]


def blocks_of(before: Sequence[int], after: Sequence[int]) -> list[Block]:
    """Return which dimensions of a shape become which of another one, in as many steps as possible; none of size 1."""
    left = [dim for dim, size in enumerate(before) if size != 1]
    right = [dim for dim, size in enumerate(after) if size != 1]
    found: list[Block] = []
    while left or right:
        mine, other = [left.pop(0)] if left else [], [right.pop(0)] if right else []
        while (a := prod(before[d] for d in mine)) != (b := prod(after[d] for d in other)):
            if not (left if a < b else right):  # of no numbers at all
                break
            (mine if a < b else other).append((left if a < b else right).pop(0))
        found.append((mine, other))
    return found


def finer(before: Sequence[int], after: Sequence[int]) -> list[int] | None:
    """Return a shape that lies between two where several dimensions become several: the first is split, then joined."""
    found, needed = [], False
    for mine, other in blocks_of(before, after):
        steps = [before[dim] for dim in mine]
        if len(mine) > 1 and len(other) > 1:
            ends = sorted({*accumulate(steps, mul), *accumulate((after[dim] for dim in other), mul)})
            if any(last % first for first, last in pairwise(ends)):
                return None
            steps, needed = [last // first for first, last in pairwise([1, *ends])], True
        found += steps
    return found if needed else None


def in_runs(ids: np.ndarray, length: int) -> bool:
    """Tell whether numbers (n,) stand so many times each, one after the other, as those of heads do."""
    return len(ids) % length == 0 and bool((ids.reshape(-1, length) == ids[::length, None]).all())

"""Which examples are held out: at random, and of each class its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise

import torch

from fpgmlab.common.warned import warn
from fpgmlab.errors import few


def shuffled(count: int, seed: int) -> list[int]:
    """Return the numbers from 0 to ``count - 1`` in the order that a seed gives them."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def mixed(labels: Sequence[int] | None) -> list[int] | None:
    """Return an order of examples that lie class by class in which every beginning has some of each; else None.

    They do so where neighbours are of two classes less than a quarter as often as in a random order.

    Parameters
    ----------
    labels : sequence of int, optional
        Of each example its class; nothing is known of their order where it is None.
    """
    if labels is None:
        return None
    changes = sum(a != b for a, b in pairwise(labels))
    by_chance = len(labels) - sum(count**2 for count in Counter(labels).values()) / max(1, len(labels))
    return shuffled(len(labels), 0) if 4 * changes < by_chance else None


def shares(counts: Sequence[int], n: int) -> list[int]:
    """Return how many examples of each class to hold out, so that they are ``n`` together.

    The whole numbers nearest to proportional ones, in the sum of squares, of those that leave each class of two
    examples or more at least one on either side, and one that is alone where it is: as far as ``n`` allows that.

    Parameters
    ----------
    counts : sequence of int
        Of each class its examples.
    n : int
        At most as many as there are.

    Examples
    --------
    >>> shares([90, 10, 2, 1], 20)
    [17, 2, 1, 0]
    """
    total = sum(counts)
    least, most = [min(1, max(0, count - 1)) for count in counts], [max(0, count - 1) for count in counts]
    if sum(least) > n:
        least = [0] * len(counts)
    if sum(most) < n:
        most = list(counts)
    wanted = [n * count / total for count in counts]
    held = [min(max(int(want), low), high) for want, low, high in zip(wanted, least, most, strict=True)]
    classes = range(len(counts))
    while sum(held) < n:
        held[max((k for k in classes if held[k] < most[k]), key=lambda k: wanted[k] - held[k])] += 1
    while sum(held) > n:
        held[min((k for k in classes if held[k] > least[k]), key=lambda k: wanted[k] - held[k])] -= 1
    return held


def fewest(labels: Sequence[int]) -> int:
    """Return how many examples must be held out for each class to have one, of those with two or more."""
    return sum(count > 1 for count in Counter(labels).values())


def held_out(labels: Sequence[int], n: int, seed: int, classes: Sequence[str], source: str) -> list[int]:
    """Draw ``n`` examples to hold out, of each class its share; return their numbers, ascending.

    Parameters
    ----------
    labels : sequence of int
        Of each example its class.
    n, seed : int
    classes : sequence of str
        Their names.
    source : str
        Whose they are, for the warning.

    Warns
    -----
    UserWarning
        When a class has no example in one of the parts, with its name and how many it has.
    """
    counts = Counter(labels)
    present = sorted(counts)
    left = dict(zip(present, shares([counts[label] for label in present], n), strict=True))
    held = []
    for number in shuffled(len(labels), seed):
        if left[labels[number]]:
            left[labels[number]] -= 1
            held.append(number)
    warn_of_empty([(label,) for label in labels], held, classes, source)
    return sorted(held)


def warn_of_empty(inside: Sequence[Iterable[int]], held: Iterable[int], classes: Sequence[str], source: str) -> None:
    """Warn of classes of which no example is held out, or each one.

    Parameters
    ----------
    inside : sequence of iterable of int
        Of each example the classes in it, each once.
    held : iterable of int
        The examples that are held out.
    classes, source
        As of `held_out`.
    """
    numbers = list(held)
    counts, taken = Counter(chain(*inside)), Counter(chain(*(inside[number] for number in numbers)))
    parts = (
        ("validate", "how well they are known nobody sees", [k for k in sorted(counts) if not taken[k]]),
        ("train on", "they cannot be learnt", [k for k in sorted(counts) if taken[k] == counts[k]]),
    )
    for purpose, so, missing in parts:
        if missing:
            named = (f"{classes[k] if 0 <= k < len(classes) else k} ({counts[k]} in all)" for k in missing)
            warn(
                f"{source}: with {len(numbers)} of {len(inside)} examples held out, {len(missing)} of {len(counts)} "
                f"classes have none to {purpose}, so {so}: {few(named, 10, quoted=False)}. Give more examples of them, "
                "or hold out another number.",
            )

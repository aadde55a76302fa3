"""Cross-validation: each example is judged once, by a network that has seen nothing of its group."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

from torch.utils.data import ConcatDataset, Dataset, Subset

from fpgmlab.errors import few
from fpgmlab.tasks.sets import as_dataset
from fpgmlab.tasks.splits import Splits

Kind = TypeVar("Kind", bound=Splits)
Group = TypeVar("Group", bound=Hashable)


def folds(task: Kind, groups: Sequence[Group]) -> dict[Group, Kind]:
    """Return a task for each group of examples: to validate on them, to train on all others.

    Pictures that were cut from one image, or show one patient, belong to one group: no network is then judged by what
    it was trained on. Training and validation data are parted anew; the task's test data stay what they are. Where a
    fold is to be tested with, ``fold.holdout(n)`` draws validation data from the others.

    Parameters
    ----------
    task : Classification or Detection
    groups : sequence
        Of each example its group, a name or a number: first those of ``task.train``, then those of ``task.val``.

    Returns
    -------
    dict
        Of each group its task, in the order in which the groups come up.

    Raises
    ------
    ValueError
        When there are not as many as examples, or fewer than two groups.

    Examples
    --------
    >>> parts = fl.tasks.folds(fl.tasks.trees(), fl.tasks.tree_groups())
    >>> len(parts) > 1
    True
    """
    count = len(task.train) + len(task.val)
    if len(groups) != count:
        raise ValueError(
            f"groups must have one entry for each of {count} examples ({len(task.train)} to train on, then "
            f"{len(task.val)} to validate with); got {len(groups)}"
        )
    members: dict[Group, list[int]] = {group: [] for group in groups}
    for number, group in enumerate(groups):
        members[group].append(number)
    if len(members) < 2:
        raise ValueError(f"groups must have at least two different entries, one to train on; got {few(members)}")
    data: Dataset = ConcatDataset([as_dataset(task.train), as_dataset(task.val)])
    parted = {}
    for group, own in members.items():
        others = [number for number in range(count) if groups[number] != group]
        parted[group] = replace(task, train=Subset(data, others), val=Subset(data, own))
    return parted

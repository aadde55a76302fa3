"""Criteria compared: whether they remove the same channels, and what their networks are worth after repair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from torch import Tensor

from fpgmlab.allocation.contest import Contest, Contestant
from fpgmlab.common.numbers import whole_number
from fpgmlab.criteria.comparison import removal_overlap, told_apart
from fpgmlab.criteria.rules import Criterion
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.rounding import Multiple
from fpgmlab.sensitivity.checks import checked_metrics
from fpgmlab.sensitivity.curves.intervals import within
from fpgmlab.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "criterion", "macs", "macs_kept", "metric", "unpruned", "as_cut", "repaired", "low", "high", "beside", "beside_low",
    "beside_high", "noise", "samples", "seeds",
]  # fmt: skip


def compare_criteria(
    source: ChannelGraph | Mapping[str, Tensor],
    criteria: Sequence[str | Criterion],
    *,
    ratio: float = 0.4,
    reduce: str | None = None,
    repaired: bool = False,
    task: Task | None = None,
    macs: float | Sequence[float] = (0.7, 0.5),
    seeds: int | Sequence[int] = 3,
    samples: int | None = None,
    max_samples: int | None = None,
    metric: str | None = None,
    multiple: Multiple = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """Compare criteria: what they remove, or with ``repaired=True`` what that is worth after repair.

    Criteria that remove different channels can give networks that are as good. So a criterion is judged by its pruned
    and repaired network: every criterion at the same budgets, one ratio for all groups, with the same draws of pictures
    to repair with, on the same pictures.

    Parameters
    ----------
    source : ChannelGraph or mapping of str to Tensor
        A graph, whose groups that are not protected are compared. Without repair also weights by layer name,
        (filters, ...) each, such as the convolutions of a state dict; then criteria on batch norms do not apply.
    criteria : sequence of str or Criterion
        At least two, as for `fpgmlab.score`, names and rules of your own as they come. With ``repaired=True`` the first
        is the one that the others are held against.
    ratio : float
        0 < ratio < 1: the fraction of channels whose removal is compared, rounded down. Without effect where
        ``repaired=True``: there ``macs`` says how much goes.
    reduce : str, optional
        As for `fpgmlab.score`.
    repaired : bool
        Prune, repair and measure. All that follows is for this.
    task : task
        Its training data are repaired with, without labels, its validation data are measured on.
    macs : float or sequence of float
        Budgets: the fraction of the MACs that may remain, as for `fpgmlab.Plan.uniform`.
    seeds : int or sequence of int
        Draws of the pictures to repair with, or how many; the criterion ``"random"`` is drawn anew in each.
    samples : int, optional
        Pictures in a draw; see `fpgmlab.repair`.
    max_samples : int, optional
        Only the first so many pictures of the validation data.
    metric : str, optional
        As for `fpgmlab.sweep`; when left out the task's own (``task.metric_name``), or the first that a sweep measures.
    multiple : int or "runtime"
        Of the number of channels that stay in a group, as for `fpgmlab.Plan.uniform`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        Without repair as `fpgmlab.criteria.removal_overlap`: a row for each layer and pair. With repair a row for each
        budget and criterion, means over the draws: ``criterion`` (its label); ``macs`` (the budget), ``macs_kept`` (the
        fraction that remains); ``metric``; ``unpruned``, ``as_cut``, ``repaired``, its values; ``low`` and ``high``,
        the ends of the 95 % interval of ``repaired``, that of the difference to the unpruned network; ``beside``, by
        how much ``repaired`` is above the first criterion's, with the ends of its 95 % interval ``beside_low`` and
        ``beside_high``; ``noise``, whether that has zero in it (all four missing in the first one's rows);
        ``samples``, pictures that were measured on; ``seeds``, how many draws. Both intervals are over pictures and
        draws, see `fpgmlab.sensitivity.curves.draws.over_draws`; of one draw they tell of pictures alone.

    Raises
    ------
    ValueError
        For fewer than two criteria, two of the same label, a ratio or budget out of range, a task without
        ``repaired=True`` or the other way round, or as `fpgmlab.score` and `fpgmlab.repair`.
    TypeError
        For a criterion that is neither a name nor a rule, and for weights where a graph is needed.

    Notes
    -----
    The more criteria and budgets are compared, the likelier is one that lies beside the first by luck: one in twenty
    does at 95 %. What was chosen by these pictures is to be reported on others.

    Examples
    --------
    >>> table = fl.compare_criteria(graph, ["fpgm", "l1"], ratio=0.4)
    >>> bool(table["overlap"].mean() > 0.8)
    True

    After repair, with few pictures and one draw; their interval is as wide as that tells:

    >>> table = fl.compare_criteria(
    ...     graph, ["fpgm", "random"], repaired=True, task=task, macs=0.7, seeds=1, samples=64, max_samples=100,
    ...     progress=False,
    ... )
    >>> table["criterion"].tolist()
    ['FPGM', 'Random']
    >>> bool((table["repaired"] > table["as_cut"]).all())
    True
    """
    if not repaired:
        if task is not None:
            raise ValueError("a task is looked at with repaired=True only: pass both, or neither")
        return removal_overlap(source, criteria, ratio=ratio, reduce=reduce)
    if not isinstance(source, ChannelGraph):
        raise TypeError(f"repaired=True needs a graph, as fpgmlab.trace gives it; got {type(source).__name__}")
    if task is None:
        raise ValueError("repaired=True needs a task: pictures to repair with, and to measure on")
    given = dict(zip([rule.label for rule in told_apart(criteria)], criteria, strict=True))
    budgets, draws = _budgets(macs), _draws(seeds)
    contest = Contest(source, task, _metric(metric, task), samples, max_samples, multiple, reduce)
    return _table(contest, contest.held(given, budgets, draws, progress))


def _table(contest: Contest, found: Mapping[tuple[float, str], Contestant]) -> pd.DataFrame:
    import pandas as pd

    first: dict[float, Contestant] = {}
    rows = []
    for (budget, label), one in found.items():
        other = first.setdefault(budget, one)
        _, *ends = contest.beside(one)
        row: list[object] = [label, budget, fmean(one.macs), contest.metric, contest.unpruned, fmean(one.as_cut)]
        row += [fmean(one.repaired), *within([contest.unpruned + end for end in ends], contest.share)]
        if one is other:
            row += [math.nan, math.nan, math.nan, pd.NA]
        else:
            beside, low, high = contest.beside(one, other)
            row += [beside, low, high, low <= 0 <= high]
        rows.append([*row, contest.pictures, len(one.repaired)])
    return pd.DataFrame(rows, columns=COLUMNS).astype({"noise": "boolean"})


def _metric(asked: str | None, task: Task) -> str:
    if asked is not None:
        return checked_metrics(asked, task)[0]
    try:
        return checked_metrics(task.metric_name, task)[0]
    except ValueError:  # the task's metric is none that a sweep can put together
        return checked_metrics(None, task)[0]


def _budgets(macs: float | Sequence[float]) -> list[float]:
    budgets = [float(value) for value in ([macs] if isinstance(macs, int | float) else macs)]
    if not budgets or len(set(budgets)) < len(budgets) or not all(0 < value <= 1 for value in budgets):
        raise ValueError(f"macs must be fractions that may remain, 0 < macs <= 1, each once; got {macs}")
    return budgets


def _draws(seeds: int | Sequence[int]) -> list[int]:
    if isinstance(seeds, int):
        return list(range(whole_number("seeds", seeds)))
    draws = [whole_number("each of the seeds", seed, 0) for seed in seeds]
    if not draws or len(set(draws)) < len(draws):
        raise ValueError(f"seeds must be at least one, each once; got {list(seeds)}")
    return draws

"""Whether two criteria remove the same channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fpgmlab.criteria.rules import Criterion
from fpgmlab.criteria.scoring import resolve, score
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.plans.rounding import lowest

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["layer", "channels", "first", "second", "ratio", "removed", "spearman", "kendall", "overlap"]


def removal_overlap(
    source: ChannelGraph | Mapping[str, Tensor],
    criteria: Sequence[str | Criterion],
    *,
    ratio: float = 0.4,
    reduce: str | None = None,
) -> pd.DataFrame:
    """Compare every pair of criteria, layer by layer: how alike their orders are, and what they remove.

    Parameters
    ----------
    source : ChannelGraph or mapping of str to Tensor
        A graph, whose groups that are not protected are compared; or weights by layer name, (filters, ...) each, such
        as the convolutions of a state dict. Then criteria on batch norms do not apply.
    criteria : sequence of str or Criterion
        At least two, as for `fpgmlab.score`.
    ratio : float
        0 < ratio < 1: the fraction of channels whose removal is compared, rounded down.
    reduce : str, optional
        As for `fpgmlab.score`.

    Returns
    -------
    pandas.DataFrame
        A row for each layer and pair: layer (or group), channels, first, second (labels of the criteria), ratio,
        removed (how many each removes), spearman and kendall (rank correlation, tau-b; NaN when one finds all
        channels equal), overlap (share of the removed channels that both remove; NaN when none is removed).

    Raises
    ------
    ValueError
        For fewer than two criteria, two of the same label, a ratio out of range, or as `fpgmlab.score`.
    TypeError
        For a criterion that is neither a name nor a rule.

    Examples
    --------
    >>> table = fl.criteria.removal_overlap(graph, ["fpgm", "l1"], ratio=0.4)
    >>> bool(table["overlap"].mean() > 0.8)
    True
    """
    import pandas as pd
    from scipy.stats import kendalltau, rankdata

    rules = told_apart(criteria)
    labels = [rule.label for rule in rules]
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must be a number with 0 < ratio < 1; got {ratio}")
    groups, scores = _scored(source, rules, reduce)
    rows = []
    for group in groups:
        count = math.floor(ratio * group.channels + 1e-9) // group.step * group.step
        gone = [set(lowest(group, each, count)) for each in scores]
        ranks = [rankdata(each[group.name].numpy()) for each in scores]
        for a, b in combinations(range(len(rules)), 2):
            flat = np.ptp(ranks[a]) == 0 or np.ptp(ranks[b]) == 0
            spearman = np.nan if flat else np.corrcoef(ranks[a], ranks[b])[0, 1]
            kendall = np.nan if flat else kendalltau(ranks[a], ranks[b]).statistic
            overlap = len(gone[a] & gone[b]) / count if count else np.nan
            pair = (labels[a], labels[b])
            rows.append((group.name, group.channels, *pair, ratio, count, spearman, kendall, overlap))
    return pd.DataFrame(rows, columns=COLUMNS)


def told_apart(criteria: Sequence[str | Criterion]) -> list[Criterion]:
    """Return criteria to compare; a `ValueError` for fewer than two, or two of the same label."""
    criteria = [criteria] if isinstance(criteria, str | Criterion) else criteria  # a text is a sequence, of letters
    rules = [resolve(criterion) for criterion in criteria]
    labels = [rule.label for rule in rules]
    if len(set(labels)) < max(2, len(labels)):
        raise ValueError(f"criteria must be at least two, each with a label of its own; got {labels}")
    return rules


def _scored(
    source: ChannelGraph | Mapping[str, Tensor], rules: Sequence[Criterion], reduce: str | None
) -> tuple[list[ChannelGroup], list[dict[str, Tensor]]]:
    if isinstance(source, ChannelGraph):
        groups = [group for group in source.values() if group.protected is None]
        return groups, [score(source, rule, reduce=reduce) for rule in rules]
    groups = []
    scores: list[dict[str, Tensor]] = [{} for _ in rules]
    for name, weight in source.items():
        if not isinstance(weight, Tensor) or weight.ndim < 2:
            raise ValueError(f"layer {name!r} must have weights (filters, ...); got {getattr(weight, 'shape', weight)}")
        groups.append(ChannelGroup(name, len(weight), (name,), ()))
        for rule, found in zip(rules, scores, strict=True):
            try:
                found[name] = rule(weight.detach()).cpu()
            except ValueError as error:
                raise ValueError(f"layer {name!r} cannot be scored by {rule.label}: {error}") from error
    return groups, scores

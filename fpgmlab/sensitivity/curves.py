"""Sensitivity curves: a metric as a function of one group's ratio, all else untouched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fpgmlab.rounding import Scores
from fpgmlab.sensitivity.intervals import Paired
from fpgmlab.sensitivity.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["group", "ratio", "kept", "metric", "value", "low", "high", "samples"]
Key = tuple[str, int, str]  # group, kept, metric


@dataclass(frozen=True, eq=False)
class Curves:
    """What a sweep has found so far: sums over samples, from which everything else follows.

    Attributes
    ----------
    sums : mapping of (str, int, str) to Paired
        For each group, number of kept channels and metric.
    whole : mapping of str to Paired
        The unpruned network's, by metric, on all samples seen.
    widths : mapping of str to int
        Channels of each group before pruning.
    changes : mapping of str to float
        The largest change of any output that the removal of a group's channels made.
    complete : bool
        Whether the sweep went through all its samples, or met its tolerance everywhere.
    scores : mapping of str to Tensor
        The scores that the sweep was made with: the channels with the lowest were removed first.
    """

    sums: Mapping[Key, Paired]
    whole: Mapping[str, Paired]
    widths: Mapping[str, int]
    changes: Mapping[str, float]
    complete: bool = True
    scores: Scores = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The curves as a table, a row for each point, by group in network order, metric and ascending ratio.

        Columns group, ratio (the fraction really removed), kept, metric, value, low, high (the ends of a 95 %
        interval), samples. The ratio 0 is the unpruned network.
        """
        import pandas as pd

        rows = []
        for name, metric in ((n, m) for n in self.widths for m, base in self.whole.items() if base.samples):
            width, value = self.widths[name], self.base[metric]
            rows.append((name, 0.0, width, metric, value, value, value, self.whole[metric].samples))
            kept = sorted({k for group, k, _ in self.sums if group == name}, reverse=True)
            for k in kept:
                sums = self.sums[name, k, metric]
                rows.append((name, 1 - k / width, k, metric, *sums.interval(METRICS[metric].binary), sums.samples))
        return pd.DataFrame(rows, columns=COLUMNS)

    @property
    def base(self) -> dict[str, float]:
        """The unpruned network's value of each metric, on all samples seen."""
        return {metric: sums.value / sums.samples for metric, sums in self.whole.items() if sums.samples}

    @property
    def unmeasurable(self) -> tuple[str, ...]:
        """Groups whose removal, at every ratio, changed no output at all: nothing is known of their sensitivity."""
        return tuple(name for name, change in self.changes.items() if change == 0) if self.base else ()

    def merge(self, *others: Curves) -> Curves:
        """Join sweeps of the same network, groups and ratios over different samples.

        Parameters
        ----------
        *others : Curves
            Each sample must be in one of them only.

        Raises
        ------
        ValueError
            When their groups, ratios or metrics differ, with what differs.
        """
        sums, whole, changes = dict(self.sums), dict(self.whole), dict(self.changes)
        for other in others:
            for what, mine, theirs in (("points", sums, other.sums), ("metrics", whole, other.whole)):
                if set(mine) != set(theirs):
                    odd = sorted(set(mine) ^ set(theirs), key=str)
                    raise ValueError(
                        f"the sweeps do not have the same {what}: only one has {odd[:4]} ({len(odd)} in all)"
                    )
            if dict(self.widths) != dict(other.widths):
                raise ValueError(
                    f"the sweeps are of other networks: widths {dict(self.widths)} and {dict(other.widths)}"
                )
            sums = {key: part + other.sums[key] for key, part in sums.items()}
            whole = {metric: part + other.whole[metric] for metric, part in whole.items()}
            changes = {name: max(change, other.changes[name]) for name, change in changes.items()}
        return Curves(sums, whole, self.widths, changes, self.complete and all(o.complete for o in others), self.scores)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curves to one Parquet file, whole or not at all; `load` reads them without model and data.

        Parameters
        ----------
        path : path-like
            Of the file, such as ``"outputs/curves.parquet"``.

        Raises
        ------
        OSError
            When the folder cannot be written.
        """
        from fpgmlab.sensitivity.disk import write_curves

        write_curves(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Curves:
        """Read curves that `save` wrote, or that a sweep keeps (or kept) in its folder.

        Parameters
        ----------
        path : path-like
            Of the file, or the ``path`` of a sweep.

        Raises
        ------
        FileNotFoundError
            When there is nothing.
        ValueError
            When it is damaged, foreign, or of another version.
        """
        from fpgmlab.sensitivity.disk import NAME, read_curves

        return read_curves(Path(path) / NAME if Path(path).is_dir() else path)[0]

    def __repr__(self) -> str:
        samples = max((part.samples for part in self.whole.values()), default=0)
        state = "" if self.complete else "; incomplete"
        return f"Curves of {len(self.widths)} groups, {', '.join(self.whole)}, on up to {samples} samples{state}"

    def _repr_html_(self) -> str:
        return self.frame.to_html(index=False)

"""Sensitivity curves: a metric as a function of one group's ratio, all else untouched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fpgmlab.common.files import as_path
from fpgmlab.common.numbers import counted
from fpgmlab.plans.rounding import Scores
from fpgmlab.sensitivity.curves.disk import NAME, read_fields, write_fields
from fpgmlab.sensitivity.curves.intervals import Sums, within
from fpgmlab.sensitivity.curves.metrics import METRICS, is_binary
from fpgmlab.sensitivity.curves.states import Known, States
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, named
from fpgmlab.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["group", "ratio", "kept", "metric", "value", "low", "high", "samples"]
Key = tuple[str, int, str]  # group, kept, metric


@dataclass(frozen=True, eq=False)
class Curves:
    """What a sweep has found so far: sums over samples, from which everything else follows.

    Attributes
    ----------
    sums : mapping of (str, int, str) to Sums
        For each group, number of kept channels and metric.
    whole : mapping of str to Sums
        The unpruned network's, by metric, on all samples seen.
    widths : mapping of str to int
        Channels of each group before pruning.
    changes : mapping of str to float
        The largest change of any output that the removal of a group's channels made.
    complete : bool
        Whether the sweep went through all its samples, or met its tolerance everywhere.
    scores : mapping of str to Tensor
        (channels,) by group, of the sweep: the channels with the lowest were removed first.
    repaired : bool
        Whether the consumers of each point's group were refitted.
    """

    sums: Mapping[Key, Sums]
    whole: Mapping[str, Sums]
    widths: Mapping[str, int]
    changes: Mapping[str, float]
    complete: bool = True
    scores: Scores = field(default_factory=dict)
    repaired: bool = False

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The curves as a table, a row for each point, by group in network order, metric and ascending ratio.

        Columns group, ratio (the fraction really removed), kept, metric, value, low, high (the ends of a 95 %
        interval), samples. The ratio 0 is the unpruned network, on all samples seen; a point that ended earlier is this
        plus its mean difference to the unpruned network on the samples that it has seen. ``attrs`` has
        ``higher_is_better`` and ``share`` (a fraction, from 0 to 1) by metric, and ``repaired``.
        """
        import pandas as pd

        rows: list[tuple[object, ...]] = []
        bases = self.base
        known: dict[str, Known] = {metric: {} for metric in self.whole}
        for name, metric in ((n, m) for n in self.widths for m in bases):
            width, value = self.widths[name], bases[metric]
            rows.append((name, 0.0, width, metric, value, value, value, self.whole[metric].samples))
            kept = sorted({k for group, k, _ in self.sums if group == name}, reverse=True)
            for k in kept:
                sums = self.sums[name, k, metric]
                shift = 0.0 if sums.samples == self.whole[metric].samples else value - sums.reference
                if isinstance(sums, States):
                    interval = sums.interval(known=known[metric])
                else:
                    interval = sums.interval(is_binary(metric))
                found = within([each + shift for each in interval], self.is_share(metric))
                rows.append((name, 1 - k / width, k, metric, *found, sums.samples))
        frame = pd.DataFrame(rows, columns=COLUMNS)
        frame.attrs["higher_is_better"] = {metric: self.higher_is_better(metric) for metric in bases}
        frame.attrs["share"] = {metric: self.is_share(metric) for metric in bases}
        frame.attrs["repaired"] = self.repaired
        return frame

    @property
    def base(self) -> dict[str, float]:
        """The unpruned network's value of each metric, on all samples seen."""
        return {metric: sums.mean for metric, sums in self.whole.items() if sums.samples}

    def higher_is_better(self, metric: str) -> bool:
        """Tell whether a higher value of one of its metrics is better."""
        sums = self.whole.get(metric)
        return sums.higher_is_better if isinstance(sums, States) else METRICS[metric].higher_is_better

    def is_share(self, metric: str) -> bool:
        """Tell whether one of its metrics is a fraction, from 0 to 1."""
        sums = self.whole.get(metric)
        return sums.share if isinstance(sums, States) else METRICS[metric].share

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

        Returns
        -------
        Curves
            Of all samples together.

        Raises
        ------
        ValueError
            When their groups, ratios or metrics differ, with what differs; when only some are of repaired points.
        """
        if any(other.repaired != self.repaired for other in others):
            raise ValueError("some of the sweeps are of repaired points, others of points as cut: they do not join")
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
        complete = self.complete and all(other.complete for other in others)
        return replace(self, sums=sums, whole=whole, changes=changes, complete=complete)

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
        write_curves(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str], task: Task | None = None) -> Curves:
        """Read curves that `save` wrote, or that a sweep keeps (or kept) in its folder.

        Parameters
        ----------
        path : path-like
            Of the file, or the ``path`` of a sweep.
        task : task, optional
            Gives the metrics of its own again. Needed for these alone, and only to `merge`, or when the sweep was
            stopped before its end.

        Returns
        -------
        Curves

        Raises
        ------
        TypeError
            For what is no path.
        FileNotFoundError
            When there is nothing.
        ValueError
            When it is damaged, foreign, or of another version.
        """
        curves, _ = read_curves(path / NAME if (path := as_path(path)).is_dir() else path)
        return curves if task is None else curves.with_metrics_of(task)

    def with_metrics_of(self, task: Task) -> Curves:
        """Return the same curves, with a task's own metrics to compute them by.

        Raises
        ------
        ValueError
            When the task does not have them.
        """
        rules = {name: named(name, task) for name, sums in self.whole.items() if isinstance(sums, States)}

        def given(sums: Sums, name: str) -> Sums:
            rule = rules.get(name)
            if isinstance(rule, TaskMetric) and isinstance(sums, States):
                return replace(sums, metric=rule.metric)
            return sums

        sums = {key: given(each, key[2]) for key, each in self.sums.items()}
        return replace(self, sums=sums, whole={name: given(each, name) for name, each in self.whole.items()})

    def __repr__(self) -> str:
        samples = max((part.samples for part in self.whole.values()), default=0)
        state = ("; repaired" if self.repaired else "") + ("" if self.complete else "; incomplete")
        seen = counted(samples, "sample")
        return f"Curves of {len(self.widths)} groups, {', '.join(self.whole)}, on up to {seen}{state}"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.frame.to_html(index=False, max_rows=12)}"


def write_curves(path: str | os.PathLike[str], curves: Curves, record: Mapping[str, Any] | None = None) -> None:
    """Write curves as `Curves.save` does, with what a sweep notes beside them; see `disk.write_fields`."""
    write_fields(path, {each.name: getattr(curves, each.name) for each in fields(curves)}, record)


def read_curves(path: str | os.PathLike[str]) -> tuple[Curves, Mapping[str, Any]]:
    """Read what `write_curves` wrote: the curves and the record; see `disk.read_fields`."""
    found, record = read_fields(path)
    return Curves(**found), record

"""How far a sweep has come: its curves, and which parts of the data are in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fpgmlab.common.digests import digest
from fpgmlab.sensitivity.curves.curves import Curves
from fpgmlab.sensitivity.curves.intervals import Sums, is_narrow
from fpgmlab.sensitivity.curves.metrics import is_binary
from fpgmlab.sensitivity.replay.batches import Reader
from fpgmlab.sensitivity.store.work import Part, SweepJob


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a sweep has come.

    Attributes
    ----------
    curves : Curves
    limit : int
        The most samples that the next part may have; 0 when it is not known yet.
    memory : float
        The bytes that this limit was made for.
    ends : tuple of int
        Where each finished part of the data ended.
    digests : tuple of str
        Of the data of each part; empty texts when they were not asked for.
    """

    curves: Curves
    limit: int = 0
    memory: float = 0.0
    ends: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """Samples in finished parts."""
        return self.ends[-1] if self.ends else 0

    def plus(self, part: Part, job: SweepJob) -> Progress:
        """Add the next part; what it says of points that were finished before is left out."""
        sums, changes = dict(self.curves.sums), dict(self.curves.changes)
        for number in unfinished(job, self.curves):
            group, kept = job.places[number]
            for metric in job.metrics:
                sums[group, kept, metric] += part.curves.sums[group, kept, metric]
            changes[group] = max(changes[group], part.curves.changes[group])
        whole = {metric: value + part.curves.whole[metric] for metric, value in self.curves.whole.items()}
        curves = replace(self.curves, sums=sums, whole=whole, changes=changes)
        more = replace(
            self, curves=curves, limit=part.limit, ends=(*self.ends, part.end), digests=(*self.digests, part.digest)
        )
        return more.seen_by(job)

    def seen_by(self, job: SweepJob) -> Progress:
        """Return the same progress, complete or not as a job has it."""
        complete = self.done == job.total or not unfinished(job, self.curves)
        return replace(self, curves=replace(self.curves, complete=complete))


def begun(job: SweepJob, scores: Mapping) -> Progress:
    """Return the progress before the first part."""
    nothing = {metric.name: metric.nothing for metric in job.chosen}
    return Progress(
        Curves(
            {(*place, name): none for place in job.places for name, none in nothing.items()},
            nothing,
            {point.group: point.plan.widths[point.group] for point in job.points},
            {point.group: 0.0 for point in job.points},
            complete=not job.points,
            scores=dict(scores),
            repaired=bool(job.pictures),
        )
    )


def unfinished(job: SweepJob, curves: Curves) -> Sequence[int]:
    """Return the numbers of the points whose interval, in the first metric, is not narrow enough yet."""
    if (tolerance := job.tolerance) is None:
        return range(len(job.points))
    name = job.metrics[0]

    def wide(sums: Sums) -> bool:
        if sums.samples == 0:
            return True
        _, low, high = sums.interval(is_binary(name))
        return not is_narrow(low, high, tolerance)

    return [number for number, place in enumerate(job.places) if wide(curves.sums[(*place, name)])]


def check_data(progress: Progress, job: SweepJob, where: str) -> None:
    """Read the samples of finished parts again, and raise a `ValueError` when they, or their number, are others."""
    done, ends = progress.done, (0, *progress.ends)
    if done > job.total:
        raise ValueError(
            f"{where} holds a sweep over {done} samples, more than the {job.total} that are asked for. "
            "Read it with Curves.load, or choose another path."
        )
    reader = Reader(job.task, job.batch_size, job.total)
    for start, end, stored in zip(ends, progress.ends, progress.digests, strict=False):
        if digest(reader.read(start, end)) != stored:
            raise ValueError(
                f"{where} holds another sweep. data: samples {start} to {end - 1} are not what they were (or reading "
                "them is random). Choose another path, or delete the folder to start anew."
            )
    goes_on = done < job.total and not progress.seen_by(job).curves.complete
    # The last part must be as long as it would be in a sweep over more samples.
    if goes_on and done % job.batch_size and done - ends[-2] < progress.limit:
        raise ValueError(
            f"{where} holds a sweep over {done} samples, which end in the middle of a batch of {job.batch_size}: it "
            "cannot go on to more. Choose another path, or delete the folder to start anew."
        )

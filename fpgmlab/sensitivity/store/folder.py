"""The progress of a sweep in a folder: killed at any moment, it goes on after the last finished part."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import IO, Any

from fpgmlab.common.batches import examples_in
from fpgmlab.common.digests import digest
from fpgmlab.common.files import as_path, atomic_path
from fpgmlab.plans.rounding import Scores
from fpgmlab.recovery.recalibration import training_inputs
from fpgmlab.sensitivity.curves.curves import read_curves, write_curves
from fpgmlab.sensitivity.curves.disk import FORMAT, NAME
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, described
from fpgmlab.sensitivity.store.fingerprint import Identity, differences, identity
from fpgmlab.sensitivity.store.progress import Progress, check_data
from fpgmlab.sensitivity.store.work import SweepJob
from fpgmlab.tasks.task import head_of

_HEAD = "curves.json"
_LOCK = ".lock"
_OPTIONS = ("metrics", "dtype", "batch_size", "tolerance", "surgery", "recalibrate")


class Store:
    """A folder with ``curves.json``, what the sweep was made from, and ``curves.parquet``, how far it has come."""

    def __init__(self, folder: Path, job: SweepJob, made_from: Identity) -> None:
        self._folder, self._job = folder, job
        self._identity = json.loads(json.dumps(made_from, default=float))

    def load(self, begun: Progress) -> Progress:
        """Return the stored progress; when there is none yet, what has ``begun``.

        Raises
        ------
        ValueError
            For the progress of another sweep, with what differs; for damaged or foreign files.
        """
        head, file = self._folder / _HEAD, self._folder / NAME
        if not head.exists():
            if file.exists():
                raise ValueError(f"{str(file)!r} belongs to no sweep: {_HEAD!r} is missing beside it. {self._cure}")
            return begun
        try:
            stored = json.loads(head.read_text(encoding="utf-8"))
            written_by = stored.pop("format")
            found = differences(stored, self._identity)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(head)!r} is half-written or not of a sweep ({error!r}). {self._cure}") from error
        if written_by != FORMAT:
            raise ValueError(
                f"{str(head)!r} has format {written_by!r}; this version goes on with {FORMAT!r}. {self._cure}"
            )
        if found:
            raise ValueError(f"{str(self._folder)!r} holds another sweep. {'; '.join(found)}. {self._cure}")
        if not file.exists():
            return begun
        curves, record = read_curves(file)
        curves = curves.with_metrics_of(self._job.task)
        if record.get("identity") != digest(self._identity):
            raise ValueError(f"{str(file)!r} does not belong to the {_HEAD!r} beside it. {self._cure}")
        progress = Progress(curves, record["limit"], record["memory"], tuple(record["ends"]), tuple(record["digests"]))
        check_data(progress, self._job, repr(str(self._folder)))
        return progress.seen_by(self._job)

    def save(self, progress: Progress) -> None:
        """Write the progress; at any moment either the old or the new one is there."""
        head = self._folder / _HEAD
        if not head.exists():  # not before: a sweep that was refused leaves a folder that is free for another one
            with atomic_path(head) as temporary:
                temporary.write_text(json.dumps({"format": FORMAT, **self._identity}, indent=1), encoding="utf-8")
        record = {name: value for name, value in vars(progress).items() if name != "curves"}
        write_curves(self._folder / NAME, progress.curves, {**record, "identity": digest(self._identity)})

    @property
    def _cure(self) -> str:
        return f"Choose another path, or delete the folder {str(self._folder)!r} to start anew."


@contextmanager
def stored(
    path: str | os.PathLike[str] | None, job: SweepJob, scores: Scores, options: Mapping[str, Any]
) -> Iterator[Store | None]:
    """Open the folder of a sweep for this process alone; None without a path.

    Parameters
    ----------
    path : path-like, optional
    job : SweepJob
    scores : mapping of str to Tensor
    options : mapping
        What else the points were made from.

    Raises
    ------
    OSError
        When the folder cannot be made or written.
    RuntimeError
        When another sweep is writing there.
    """
    if path is None:
        yield None
        return
    folder = as_path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        what = "there is a file" if os.path.isfile(folder) else error.strerror
        raise type(error)(
            f"cannot keep the progress of a sweep in {str(path)!r}: {what}. Choose a folder that you may write to."
        ) from error
    with lock:
        _hold(lock, folder)
        for left in (*folder.glob(".curves.*/*"), *folder.glob(".curves.*")):  # of a process killed while it wrote
            left.rmdir() if left.is_dir() else left.unlink()
        widths = {point.group: point.plan.widths[point.group] for point in job.points}
        own = {name: getattr(job, name) for name in _OPTIONS}
        own |= {f"metric {metric.name!r}": described(metric) for metric in job.chosen if isinstance(metric, TaskMetric)}
        if job.recalibrate:
            own["training data"] = digest(training_inputs(job.task, job.recalibrate))
        if job.pictures:  # sweeps of before do not tell
            own |= {"repair": sum(map(examples_in, job.pictures)), "pictures for the repair": digest(job.pictures)}
        own["task"] = type(job.task).__name__
        if is_dataclass(head := head_of(job.task)):  # what a detector's outputs mean
            own["head"] = repr(head)
        yield Store(folder, job, identity(job.graph.model, scores, widths, {**options, **own}))


def _hold(lock: IO[str], folder: Path) -> None:
    """Lock a file until it is closed or this process ends, however it ends, and write down who we are."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise RuntimeError(
            f"another sweep is writing to {str(folder)!r}: {lock.read() or 'it has just begun'}. "
            "Wait for it, stop it, or choose another path."
        ) from error
    except OSError:  # no locks on this file system
        return
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    lock.flush()

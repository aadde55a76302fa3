"""The file that a desk keeps its state in, so that it goes on after the kernel has ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from fpgmlab.common.digests import digest
from fpgmlab.common.files import as_path, write_text
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.rounding import Scores
from fpgmlab.sensitivity import Curves
from fpgmlab.sensitivity.store.fingerprint import differences, identity
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.failures import in_words

FORMAT = "fpgmlab-desk/1"
_FEW = 8  # pictures that tell a task from another

Stamp = tuple[int, int, int] | None


def desk_identity(graph: ChannelGraph, scores: Scores, curves: Curves) -> dict[str, Any]:
    """Return in digests what a desk is of: network, groups, scores, curves."""
    widths = {group.name: group.channels for group in graph.values() if group.protected is None}
    points = {name: column.tolist() for name, column in curves.frame.items()}
    return {**identity(graph.model, scores, widths, {}), "curves": digest([curves.repaired, points])}


def pictures_of(task: Task | None) -> str:
    """Return what tells the pictures that plans are measured on from others; empty without any."""
    if task is None:
        return ""
    try:
        first = next(iter(task.val_batches(_FEW, _FEW)))
        return digest([type(task).__name__, task.metric_name, len(task.val), _plain(first)])
    except Exception as error:  # data sets raise what they like: whoever measures will hear of it
        return in_words(error)


class DeskFile:
    """A file that one desk writes.

    Parameters
    ----------
    path : path-like
    of : dict
        See `desk_identity`.

    Raises
    ------
    OSError
        When it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], of: Mapping[str, Any]) -> None:
        self.path, self._of = as_path(path).expanduser().resolve(), of
        self._stamp: Stamp = None

    def read(self) -> dict[str, Any] | None:
        """Return what `write` wrote, None when there is no file.

        Raises
        ------
        ValueError
            For a file that is damaged, and for one of another network, scores or curves, with what differs.
        """
        if not self.path.exists():
            return None
        self._stamp = self._stamp_now()
        try:
            state = json.loads(self.path.read_text(encoding="utf-8"))
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']!r} instead of {FORMAT!r}")
            of = dict(state["of"])
            found = differences(of, {**self._of, "options": {}})
            found += ["the curves"] if of["curves"] != self._of["curves"] else []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.damaged(error) from error
        if found:
            raise ValueError(
                f"{str(self.path)!r} was kept by a desk of something else; what differs is {'; '.join(found)}. "
                "Give another path=, or delete the file to begin anew."
            )
        return dict(state)

    def damaged(self, error: Exception) -> ValueError:
        """Return the error that says so."""
        words = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        return ValueError(
            f"{str(self.path)!r} is not a desk's file, or it is damaged: {words}. It is left as it is; give another "
            "path=, or move it away to begin anew."
        )

    def write(self, state: Mapping[str, Any]) -> None:
        """Write a state, whole or not at all.

        Raises
        ------
        OSError
            When the folder cannot be written, and when somebody else has written the file since.
        """
        if self.path.exists() and self._stamp_now() != self._stamp:
            raise FileExistsError(
                f"{str(self.path)!r} was written by another desk meanwhile, and is left as it is: what changes here is "
                "not kept any more. Give each desk a path= of its own."
            )
        write_text(self.path, json.dumps({"format": FORMAT, "of": self._of, **state}, allow_nan=False))
        self._stamp = self._stamp_now()

    def _stamp_now(self) -> Stamp:
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


def _plain(value: Any) -> Any:
    """Return a batch as `digest` takes it."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value

"""Places in a study: names of keys, numbers of a list, or rows by what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fpgmlab.errors import unknown

Step = str | int | Mapping[str, object]
EACH = "*"  # all entries of a list or of a mapping


@dataclass(frozen=True)
class Found:
    """What is at a place.

    Attributes
    ----------
    value : object
        Behind a step ``"*"`` a list, with what is found in each.
    command, date : str or None
        The nearest ones above it: of the study, or of the part of it that was measured by itself.
    """

    value: object
    command: str | None
    date: str | None


def found(content: object, place: Iterable[Step]) -> Found:
    """Follow the steps of a place through a JSON.

    Parameters
    ----------
    content : object
        Mappings, lists, texts, numbers.
    place : iterable
        A text is a key, a whole number counts in a list, a mapping finds the one row of a list that has all these
        values, ``"*"`` goes on in each entry.

    Raises
    ------
    ValueError
        When a step leads nowhere, or to several rows; the step is told, and what there is.

    Examples
    --------
    >>> found({"rows": [{"way": "repair", "points": -1.0}]}, ["rows", {"way": "repair"}, "points"]).value
    -1.0
    """
    steps = list(place)
    command, date = _head(content, None, None)
    for number, step in enumerate(steps):
        if step == EACH:
            entries = list(content.values()) if isinstance(content, Mapping) else content
            if not isinstance(entries, list):
                raise ValueError(f"{written(steps[: number + 1])}: {entries!r:.60} has no entries")
            return Found([found(entry, steps[number + 1 :]).value for entry in entries], command, date)
        content = _entered(content, step, written(steps[: number + 1]))
        command, date = _head(content, command, date)
    return Found(content, command, date)


def written(place: Iterable[Step]) -> str:
    """Return a place as a reader sees it.

    >>> written(["ways", {"way": "repair", "macs": 0.5}, "points"])
    'ways[way=repair, macs=0.5]/points'
    """
    text = ""
    for step in place:
        if isinstance(step, Mapping):
            text += f"[{', '.join(f'{key}={value}' for key, value in step.items())}]"
        else:
            text += f"/{step}" if text else str(step)
    return text


def _head(content: object, command: str | None, date: str | None) -> tuple[str | None, str | None]:
    """Return command and date that a part of a study tells, or those of what it is a part of."""
    head = content.get("study", content) if isinstance(content, Mapping) else None
    if not isinstance(head, Mapping):
        return command, date
    told, when = head.get("command"), head.get("date")
    return told if isinstance(told, str) else command, when if isinstance(when, str) else date


def _entered(content: object, step: Step, where: str) -> object:
    if isinstance(step, Mapping):
        rows = content if isinstance(content, Sequence) and not isinstance(content, str) else ()
        fitting = [row for row in rows if all(row.get(key) == value for key, value in step.items())]
        if len(fitting) != 1:
            raise ValueError(f"{where}: {len(fitting)} of {len(rows)} rows have these values; one should")
        return fitting[0]
    if isinstance(content, Mapping):
        if step not in content:
            raise ValueError(f"{where}: {unknown('key', step, content)}")
        return content[str(step)]
    if isinstance(content, list) and isinstance(step, int) and -len(content) <= step < len(content):
        return content[step]
    raise ValueError(f"{where}: there is {content!r:.60}, which has no {step!r}")

"""Words for errors: what was passed, what would do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MANY = 3  # names that do not exist are no slip any more
LONG = 80  # characters of a value


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest match or the names that do.

    >>> unknown("criterion", "fpmg", ["fpgm", "l1"])
    "unknown criterion 'fpmg': did you mean 'fpgm'? There are: 'fpgm', 'l1'"
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    guess = f" did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(map(repr, names[:12])) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    passed = repr(name) if isinstance(name, str) else shown(name)
    return f"unknown {kind} {passed}:{guess} There are: {listed or 'none'}"


def strange(kind: str, names: Iterable[str], known: Iterable[str]) -> str:
    """Return the message for names of a whole some of which do not exist: that they are others where most do not.

    >>> strange("group", ["a", "b", "c", "d"], ["d", "conv1"])
    "3 of its 4 groups are not there; it has 'a', 'b', 'c' and 1 more, this network 'd', 'conv1'"
    """
    theirs, ours = list(names), list(known)
    lacking = [name for name in theirs if name not in ours]
    if len(lacking) < MANY or 2 * len(lacking) <= len(theirs):
        return unknown(kind, lacking[0], ours)
    return (
        f"{len(lacking)} of its {len(theirs)} {kind}s are not there; it has {few(theirs, 3)}, this network "
        f"{few(ours, 3)}"
    )


def shown(value: object) -> str:
    """Return a value for a sentence: as it is written in code, or only its type where that would be long.

    >>> shown("fpgm"), shown(list(range(100)))
    ("'fpgm'", 'an object of type list')
    """
    text = repr(value)
    return text if len(text) <= LONG and "\n" not in text else f"an object of type {type(value).__name__}"


def few(names: Iterable[object], most: int = 5, *, quoted: bool = True) -> str:
    """Return names for a sentence: the first few, and how many more there are.

    >>> few(["conv1", "conv2"]), few(range(40), 3)
    ("'conv1', 'conv2'", '0, 1, 2 and 37 more')
    """
    words = [repr(name) if quoted else str(name) for name in names]
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")


def one_of(name: str, value: object, allowed: Iterable[object], other: str = "") -> str:
    """Return the message for an argument that has few values, all of them told, and perhaps ``other`` ones in words.

    >>> one_of("reduce", "min", ["root", "mean"])
    "reduce must be one of 'root', 'mean'; not 'min'"
    """
    listed = ", ".join(map(repr, allowed))
    return f"{name} must be one of {listed}{f' or {other}' if other else ''}; not {shown(value)}"

"""Numbers as arguments: what they must be."""

from __future__ import annotations

from numbers import Integral


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Return an argument as an int.

    Raises
    ------
    ValueError
        When it is no whole number of at least ``least``, with its name and what it is.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 sample", "1,200 samples"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

"""Exercises that check themselves: what is right is known, and does not stand in the source.

Right answers are kept as digests (`fpgmlab.course.answers`) in ``exercises.toml``, which says of each exercise what
kind of answer it asks for, and what to tell who is wrong. An answer that can be many things is held against what was
asked instead (`fpgmlab.course.properties`).
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from fpgmlab.course.answers import Exercise, Unfit, empty, forms, known_mistake, matches
from fpgmlab.errors import unknown

__all__ = ["check", "names", "right"]


def check(name: str, answer: object) -> None:
    """Print whether an exercise's answer is right; if not, a hint that does not tell it.

    Parameters
    ----------
    name : str
        The exercise, by chapter and number: ``"06-2"``.
    answer : object
        A number, a word, several of either, or what the exercise asks for. Numbers need to be as exact as it says.
        ``...`` when there is none yet.

    Raises
    ------
    ValueError
        When there is no such exercise. Never for an answer, whatever it is.

    Examples
    --------
    >>> from fpgmlab.course.exercises import check
    >>> check("06-2", ...)
    06-2: no answer yet
    >>> check("06-2", "much")
    06-2: not yet. This asks for a number; 'much' is none
    """
    trouble = _trouble(name, answer)
    print(f"{name}: {trouble or 'right'}")


def right(name: str, answer: object) -> bool:
    """Return whether an answer to the exercise of this name is right; as `check`, without a word.

    >>> from fpgmlab.course.exercises import right
    >>> right("06-2", None)
    False
    """
    return _trouble(name, answer) is None


def names(chapter: int | None = None) -> list[str]:
    """Return the names of the exercises that can be checked, of one chapter or of all."""
    return [name for name in _exercises() if chapter is None or name.startswith(f"{chapter:02}-")]


def _trouble(name: str, answer: object) -> str | None:
    """Return what to tell of an answer that is not right, or None for one that is."""
    exercise = exercise_of(name)
    if empty(answer):
        return "no answer yet"
    try:
        if exercise.kind == "property":
            from fpgmlab.course.properties import PROPERTIES  # networks and curves, which the others do without

            found = PROPERTIES[name](answer)
            return f"not yet. {found}" if found else None
        if matches(exercise, forms(exercise, answer)):
            return None
    except Unfit as error:
        return f"not yet. {error}"
    return f"not yet. {known_mistake(exercise, answer) or exercise.hint}"


def exercise_of(name: str) -> Exercise:
    """Return what is kept of an exercise."""
    known = _exercises()
    if name not in known:
        raise ValueError(unknown("exercise", name, known))
    return known[name]


@cache
def _exercises() -> dict[str, Exercise]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {name: Exercise(name, **table) for name, table in tables.items()}

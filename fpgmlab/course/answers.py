"""Answers to exercises: which of them are the same, and digests of them in place of the answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

ROUNDS = 5_000  # of hashing: no time for one answer, and some for whoever tries them all


class Unfit(Exception):
    """An answer of another kind than the one that is asked for; its text says so to the reader."""


@dataclass(frozen=True)
class Exercise:
    """What is kept of an exercise.

    Attributes
    ----------
    name : str
        Chapter and number.
    kind : {"number", "count", "numbers", "word", "names", "property"}
        What is asked for: a number to the nearest ``grid``, an exact whole number, several numbers in order, a word,
        names in any order, or something that is held against what was asked.
    hint : str
        For who is wrong.
    grid : float
        Numbers are the same that differ by no more than this, and none that differ by twice as much.
    digests : list of str
        Of the answers that are right; see `digest`.
    mistakes : dict of str to str
        From the digests of answers that are often given to a hint of their own.
    choices : list of str
        The words to choose from, where they are told.
    """

    name: str
    kind: str
    hint: str
    grid: float = 1.0
    digests: Sequence[str] = ()
    mistakes: Mapping[str, str] = field(default_factory=dict)
    choices: Sequence[str] = ()


def digest(name: str, form: str) -> str:
    """Return the digest of an answer's form; the same answer to another exercise has another one."""
    return _digest(name, form)


@cache
def _digest(name: str, form: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", form.encode(), f"fpgmlab {name}".encode(), ROUNDS, dklen=16).hex()


def empty(answer: Any) -> bool:
    """Return whether an answer is none: ``None``, ``...``, no text, no number, nothing in it, or only such things."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, str):
        return not answer.strip()
    if isinstance(answer, (Tensor, np.ndarray)):
        return empty(answer.tolist())
    if isinstance(answer, Real):
        return math.isnan(answer)
    if isinstance(answer, (Sequence, Set)):
        return all(map(empty, answer))
    return isinstance(answer, Sized) and not len(answer)


def forms(exercise: Exercise, answer: Any) -> Iterator[str]:
    """Yield the texts that an answer may stand for: itself on the exercise's grid, and for numbers its neighbours.

    Raises
    ------
    Unfit
        When it is of another kind than the exercise asks for.
    """
    if exercise.kind == "count":
        value = _number(answer)
        yield str(round(value)) if value == round(value) else f"{value:.6g}"
    elif exercise.kind == "number":
        yield from map(str, _neighbours(_number(answer), exercise.grid))
    elif exercise.kind == "numbers":
        values = [_number(value) for value in _several(answer, "numbers")]
        for near in product(*(_neighbours(value, exercise.grid) for value in values[:4])):
            yield " ".join(map(str, (*near, *values[4:])))
    elif exercise.kind == "word":
        word = _word(answer)
        if exercise.choices and word not in map(_word, exercise.choices):
            raise Unfit(f"Choose one of {', '.join(map(repr, exercise.choices))}; {answer!r} is none of them")
        yield word
    else:
        yield " ".join(sorted({_word(value) for value in _several(answer, "names")}))


def matches(exercise: Exercise, given: Iterable[str]) -> bool:
    """Return whether one of an answer's forms is right."""
    return any(digest(exercise.name, form) in exercise.digests for form in given)


def known_mistake(exercise: Exercise, answer: Any) -> str | None:
    """Return the hint for an answer that is often given, if this is one."""
    found = (exercise.mistakes.get(digest(exercise.name, form)) for form in forms(exercise, answer))
    return next((hint for hint in found if hint), None)


def _neighbours(value: float, grid: float) -> tuple[int, ...]:
    place = round(value / grid)
    return place, place - 1, place + 1


def _number(value: Any) -> float:
    if (isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0) or isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise Unfit(f"This asks for a number; {_short(value)} is none")
    if not math.isfinite(value):
        raise Unfit(f"This asks for a number that is not {value}")
    return float(value)


def _several(answer: Any, what: str) -> list[Any]:
    if isinstance(answer, (Tensor, np.ndarray)):
        answer = answer.tolist()
    if isinstance(answer, (str, Mapping)) or not isinstance(answer, Iterable):
        raise Unfit(f"This asks for several {what} in brackets, [..., ...]; {_short(answer)} is no list")
    return list(answer)


def _word(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unfit(f"This asks for text; {_short(value)} is none")
    return "_".join(str(value).strip(" .'\"`").casefold().split())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"

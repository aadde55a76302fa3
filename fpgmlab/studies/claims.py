"""Claims: sentences of this workbench that stand on a stored study, their figures read from it."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

import pandas as pd

from fpgmlab.errors import one_of
from fpgmlab.studies.files import folder, load
from fpgmlab.studies.places import Step, found, written

FILE = "claims.toml"
# How a stored number is said.
AS: dict[str, Callable[[float], float]] = {
    "itself": lambda x: x,
    "hundred": lambda x: 100 * x,
    "gone": lambda x: 100 * (1 - x),
    "less": lambda x: -x,
    "thousandth": lambda x: x / 1000,
    "inverse": lambda x: 1 / x,
}
# What is said of several.
OF: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "mean": fmean,
    "least": min,
    "most": max,
    "spread": lambda values: max(values) - min(values),
}


@dataclass(frozen=True)
class Measured:
    """A figure of a claim.

    Attributes
    ----------
    name : str
        In the text of its claim.
    place : tuple
        Where it is in the study.
    unit : str
        Written behind it.
    digits : int
        Behind the point.
    how : str
        A key of `AS`.
    of : str or None
        A key of `OF`, where at the place are several.
    interval : tuple or None
        The places of the ends of its interval, or that of both.
    minus : tuple or None
        The place of what is taken off.
    """

    name: str
    place: tuple[Step, ...]
    unit: str = ""
    digits: int = 0
    how: str = "itself"
    of: str | None = None
    interval: tuple[tuple[Step, ...], ...] | None = None
    minus: tuple[Step, ...] | None = None

    def value(self, study: Mapping[str, object]) -> float:
        """Return it as it is said, not yet rounded."""
        there = found(study, self.place).value
        if self.of is None:
            less = 0.0 if self.minus is None else _number(found(study, self.minus).value, self.minus)
            return AS[self.how](_number(there, self.place) - less)
        values = there if isinstance(there, list) else [there]
        return AS[self.how](OF[self.of]([_number(value, self.place) for value in values]))

    def ends(self, study: Mapping[str, object]) -> tuple[float, float] | None:
        """Return the ends of its interval, the lower one first; None when it has none."""
        if self.interval is None:
            return None
        there = [found(study, place).value for place in self.interval]
        pair = there[0] if len(there) == 1 and isinstance(there[0], list) else there
        low, high = sorted(AS[self.how](_number(end, self.place)) for end in pair)
        return low, high

    def said(self, study: Mapping[str, object]) -> str:
        """Return it in words: rounded, with its interval and its unit."""
        text = self._number(study)
        return f"{text} {self.unit}" if self.unit else text

    def short(self, study: Mapping[str, object]) -> str:
        """Return it as in a table: without its unit, .5 for 0.5."""
        return re.sub(r"(?<!\d)0(?=\.)", "", self._number(study))

    def _number(self, study: Mapping[str, object]) -> str:
        text, ends = self._rounded(self.value(study)), self.ends(study)
        return text if ends is None else f"{text} ({self._rounded(ends[0])} to {self._rounded(ends[1])})"

    def _rounded(self, value: float) -> str:
        text = f"{value:.{self.digits}f}"
        return "0" if float(text) == 0 else text


@dataclass(frozen=True)
class Claim:
    """A sentence whose figures are in a study.

    Attributes
    ----------
    text : str
        With the names of its figures in braces.
    study : str
    pages : tuple of str
        Where it is said: a page, or a section of it, ``"README.md: Repair"``.
    figures : tuple of Measured
    rows : mapping of str to tuple of str
        Rows of tables that say it as well: what stands between the bars, by the table's name.
    """

    text: str
    study: str
    pages: tuple[str, ...]
    figures: tuple[Measured, ...]
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def said(self, study: Mapping[str, object]) -> str:
        """Return the sentence with its figures."""
        return self.text.format_map({figure.name: figure.said(study) for figure in self.figures})

    def table_rows(self, table: str, study: Mapping[str, object]) -> list[str]:
        """Return its rows of a table, figures without units."""
        figures = {figure.name: figure.short(study) for figure in self.figures}
        return [f"| {row.format_map(figures)} |" for row in self.rows.get(table, ())]


def claims() -> pd.DataFrame:
    """Return every figure that pages of this project claim, one a row, as its study has it now.

    Returns
    -------
    DataFrame
        ``claim``: the sentence, with its figures; ``figure``: which of them; ``value``, ``low``, ``high``: not rounded,
        the ends of the interval missing where none was measured; ``unit``; ``study``, ``key``: where it is stored;
        ``command``, ``date``: how and when it was measured; ``pages``: where it is said, ``"README.md: Repair"``.

    Raises
    ------
    ValueError
        When a claim names a study or a place that is not there.

    Examples
    --------
    >>> rows = fl.studies.claims()
    >>> set(rows["study"]) <= set(fl.results()["name"])
    True
    """
    rows = []
    for claim in read_claims():
        study = load(claim.study)
        sentence = claim.said(study)
        for figure in claim.figures:
            there, ends = found(study, figure.place), figure.ends(study)
            low, high = (math.nan, math.nan) if ends is None else ends
            rows.append({
                "claim": sentence, "figure": figure.name, "value": figure.value(study), "low": low, "high": high,
                "unit": figure.unit, "study": claim.study, "key": written(figure.place), "command": there.command,
                "date": there.date or study["study"]["date"], "pages": claim.pages,
            })  # fmt: skip
    return pd.DataFrame(rows)


def read_claims() -> list[Claim]:
    """Return the claims of ``claims.toml`` beside the studies; none when there is no such file.

    Raises
    ------
    ValueError
        When one is not written as it must be, with its text.
    """
    path = folder() / FILE
    if not path.is_file():
        return []
    return [_claim(entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("claim", [])]


def _claim(entry: dict) -> Claim:
    base = tuple(entry.get("at", ()))
    figures = tuple(_measured(name, given, base) for name, given in entry["figures"].items())
    rows = {table: tuple(rows) for table, rows in entry.get("rows", {}).items()}
    return Claim(entry["text"], entry["study"], tuple(entry["said"]), figures, rows)


def _measured(name: str, given: dict, base: tuple[Step, ...]) -> Measured:
    place = (*base, *given["at"])
    interval = given.get("interval")
    if interval is not None:
        interval = tuple((*base, *end) for end in interval)
    minus = (*base, *given["minus"]) if "minus" in given else None
    how, of = given.get("as", "itself"), given.get("of")
    if how not in AS:
        raise ValueError(f"{written(place)}: {one_of('as', how, AS)}")
    if of is not None and of not in OF:
        raise ValueError(f"{written(place)}: {one_of('of', of, OF)}")
    return Measured(name, place, given.get("unit", ""), given.get("digits", 0), how, of, interval, minus)


def _number(value: object, place: tuple[Step, ...]) -> float:
    """Return a number, also of a text that begins with one (``"7.04 GB"``)."""
    if isinstance(value, str) and value:
        value = float(value.split()[0])
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{written(place)}: there is {value!r:.60}, no number")
    return float(value)

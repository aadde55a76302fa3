"""Figures in prose: what a page says in numbers that somebody must have measured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fpgmlab.studies.page import BEGIN, END

WORDS = {
    "half a": 0.5, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10,
}  # fmt: skip
UNITS = {
    "%": "%", "points": "points", "point": "points", "times": "times", "ms": "ms", "milliseconds": "ms",
    "millisecond": "ms", "seconds": "s", "second": "s", "s": "s", "minutes": "min", "minute": "min", "hours": "h",
    "GB": "GB", "MB": "MB", "kB": "kB",
}  # fmt: skip
NUMBER = r"(?<![\w.,@])(?<!\w-)(?:[-+\u2212]?(?:\d[\d,]*\.?\d*|\.\d+)|" + "|".join(WORDS) + r")(?![\w])"
BETWEEN = r"(?: %)?(?:, | and | to | or | → | ± )"
LIST = re.compile(rf"{NUMBER}(?:{BETWEEN}{NUMBER})* ?(?P<unit>{'|'.join(map(re.escape, UNITS))})(?!\w)", re.IGNORECASE)
DECIMAL = re.compile(r"(?<![\w.,@])(?<!\w-)[-+\u2212]?\d*\.\d+(?![\w.])")


@dataclass(frozen=True)
class Figure:
    """A number of a page.

    Attributes
    ----------
    value : float
    digits : int
        Behind its point.
    unit : str or None
        None where none is written behind it, as in a table.
    section : str
        The heading that it is under.
    where : str
        What is written around it.
    written : str
    offset : int
        Of itself in ``where``.
    """

    value: float
    digits: int
    unit: str | None
    section: str
    where: str
    written: str
    offset: int

    def is_said_by(self, value: float, unit: str) -> bool:
        """Return whether it is this value, rounded."""
        return self.unit in (None, unit) and abs(value - self.value) <= 0.5 * 10**-self.digits + 1e-9


def figures(page: str) -> Iterator[Figure]:
    """Yield the figures of a page in Markdown: numbers with a unit behind them, and all with a point."""
    for section, text in sections(page):
        seen: set[int] = set()
        for found in LIST.finditer(text):
            unit = found["unit"]
            for number in re.finditer(NUMBER, found[0], re.IGNORECASE):
                at = found.start() + number.start()
                seen.add(at)
                yield _figure(number[0], UNITS.get(unit, UNITS.get(unit.lower())), section, text, at)
        for found in DECIMAL.finditer(text):
            if found.start() not in seen:
                yield _figure(found[0], None, section, text, found.start())


def sections(page: str) -> Iterator[tuple[str, str]]:
    """Yield heading and prose of each section: no code, no addresses, nothing that is generated."""
    page = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", "", page, flags=re.DOTALL)
    page = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"^#{1,6} +(.*)$", page, flags=re.MULTILINE)
    for heading, text in zip(["", *parts[1::2]], parts[::2], strict=True):
        yield heading, re.sub(r"\s+", " ", re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "`", text)))


def _figure(number: str, unit: str | None, section: str, text: str, at: int) -> Figure:
    first = max(0, at - 60)
    where = section, text[first : at + 60], number, at - first
    if number.lower() in WORDS:
        return Figure(WORDS[number.lower()], 1 if number.lower() == "half a" else 0, unit, *where)
    digits = len(number.partition(".")[2])
    return Figure(float(number.replace(",", "").replace("\N{MINUS SIGN}", "-")), digits, unit, *where)

"""Numbers, names and tables as LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def escaped(text: str) -> str:
    r"""Return a text with LaTeX's special characters made harmless.

    Examples
    --------
    >>> escaped("bn_gamma, 50 %")
    'bn\\_gamma, 50 \\%'
    """
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def sentence(text: str) -> str:
    r"""Return a sentence for LaTeX, per cent after a thin space.

    Examples
    --------
    >>> sentence("95 % intervals, 50% of the MACs")
    '95\\,\\% intervals, 50\\,\\% of the MACs'
    """
    return re.sub(r"(?<=\d) ?\\%", r"\\,\\%", escaped(text))


def code(text: str) -> str:
    """Return a command or path in typewriter, which may be broken after slashes, dots and underscores."""
    return r"\texttt{" + re.sub(r"(/|\.|\\_|\w-)(?=\w)", r"\1\\allowbreak{}", escaped(text)) + "}"


def decimals(half: float) -> int:
    """Return how many decimals a half-width has: to its first digit, to its second where the first is 1.

    Examples
    --------
    >>> decimals(0.13), decimals(0.34), decimals(2.2)
    (2, 1, 0)
    """
    if not math.isfinite(half) or half <= 0:
        return 2
    power = math.floor(math.log10(half))
    digits = 2 if half < 1.95 * 10**power else 1
    return max(0, digits - 1 - power)


def plus_minus(value: float, half: float, places: int | None = None) -> str:
    r"""Return a value and the half-width of its interval, both to the digits that the half-width has.

    Without an interval the value is given to ``places`` decimals, one by default, and nothing is said of its error.

    Examples
    --------
    >>> plus_minus(92.573, 0.1312), plus_minus(-3.235, 2.88), plus_minus(12.345, float("nan"))
    ('$92.57 \\pm 0.13$', '$-3 \\pm 3$', '$12.3$')
    """
    if not math.isfinite(value):
        return "--"
    if not math.isfinite(half):
        return f"${value:.{1 if places is None else places}f}$"
    shown = decimals(half) if half > 0 else (1 if places is None else places)
    return rf"${_plain(value, shown)} \pm {_plain(half, shown)}$"


def share(value: float, places: int = 0) -> str:
    r"""Return a share in percent, to so many decimals.

    Examples
    --------
    >>> share(0.5)
    '50\\,\\%'
    """
    return rf"{100 * value:.{places}f}\,\%"


def tabular(columns: str, heads: Sequence[Sequence[str]], parts: Sequence[Sequence[Sequence[str]]]) -> str:
    """Return a table in the style of booktabs.

    Parameters
    ----------
    columns : str
        Such as ``"llr"``.
    heads : sequence of rows
        Cells in LaTeX; a row that is one text is taken as it is.
    parts : sequence of sequence of rows
        Cells in LaTeX; a rule between parts.
    """
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule"]
    lines += [head if isinstance(head, str) else " & ".join(head) + r" \\" for head in heads]
    for part in parts:
        lines.append(r"\midrule")
        lines += [" & ".join(row) + r" \\" for row in part]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def spanned(rows: pd.DataFrame, by: str, cells: Sequence[str]) -> list[list[list[str]]]:
    """Return the rows of a narrow table in parts, below a line that says what a part has in common."""
    parts = []
    for name, part in rows.groupby(by, sort=False):
        head = [rf"\multicolumn{{{len(cells)}}}{{@{{}}l@{{}}}}{{\emph{{{name}}}}}"]
        parts.append([head, *([str(row[cell]) for cell in cells] for row in part.to_dict("records"))])
    return parts


def parted(rows: pd.DataFrame, by: str, cells: Sequence[str]) -> list[list[list[str]]]:
    """Return the rows of a table in parts; what a part has in common stands in its first row alone."""
    parts = []
    for name, part in rows.groupby(by, sort=False):
        lines = [[str(row[cell]) for cell in cells] for row in part.to_dict("records")]
        parts.append([[escaped(str(name)) if number == 0 else "", *line] for number, line in enumerate(lines)])
    return parts


def _plain(value: float, places: int) -> str:
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text

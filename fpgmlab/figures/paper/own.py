"""Rows of one's own: checked, alike ones made an interval, named apart from what is stored."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

import numpy as np
import pandas as pd

from fpgmlab.errors import few, shown, unknown
from fpgmlab.figures.paper.intervals import interval

OWN = ("network", "method", "macs", "value")  # columns that must be there
STAGES = ("repaired", "recovered")
_PERHAPS = ("low", "high", "ms", "seeds")
_NEEDED = {
    "macs": "a fraction of the unpruned network's MACs, 0 to 1",
    "value": "the accuracy as a fraction, 0 to 1",
    "low": "the lower end of its interval as a fraction, 0 to 1, left empty where it is not known",
    "high": "the upper end of its interval as a fraction, 0 to 1, left empty where it is not known",
    "ms": "milliseconds above 0, left empty where they are not known",
    "seeds": "a whole number from 1, left empty where it is one",
}


def checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows of one's own with all columns, numbers as floats.

    Parameters
    ----------
    name : str
        What the errors call the rows.
    frame : pandas.DataFrame

    Raises
    ------
    ValueError
        For missing columns, unknown stages, and what can be no such number, by column and row.
    """
    missing = [column for column in OWN if column not in frame]
    if missing or frame.empty:
        raise ValueError(
            f"{name} is no stored study, so it must hold rows of your own with the columns {few(OWN)}; missing: "
            f"{few(missing) or 'rows'}"
        )
    found = frame.reindex(columns=[*OWN, "stage", *_PERHAPS])
    found["stage"] = found["stage"].astype(object).where(found["stage"].notna(), STAGES[0])
    for at, row in zip(found.index, found.to_dict("records"), strict=True):
        where = f"{name}, row {at!r}"
        for column in ("network", "method"):
            if pd.isna(row[column]) or not str(row[column]).strip():
                raise ValueError(f"{where}: {column!r} is empty; each row must name its {column}")
        if row["stage"] not in STAGES:
            raise ValueError(f"{where}: {unknown('stage', row['stage'], STAGES)}")
        for column, needed in _NEEDED.items():
            if not _will_do(row[column], column):
                raise ValueError(f"{where}: {column!r} is {shown(row[column])}; it must be {needed}"
                                 f"{_hint(row[column], column)}")  # fmt: skip
        if pd.isna(row["low"]) != pd.isna(row["high"]):
            raise ValueError(f"{where}: 'low' and 'high' go together; got {row['low']} and {row['high']}")
        if not pd.isna(row["low"]) and not row["low"] <= row["value"] <= row["high"]:
            raise ValueError(
                f"{where}: low <= value <= high must hold; got low={row['low']:g}, value={row['value']:g}, "
                f"high={row['high']:g}; swap or mend them, or leave 'low' and 'high' out"
            )
    numbers = [*("macs", "value"), *_PERHAPS]
    found[numbers] = found[numbers].astype(float)
    found[["network", "method"]] = found[["network", "method"]].astype(str)
    return found.assign(macs=found["macs"].round(9))  # what comes of computing in floats is no other budget


def _will_do(value: object, column: str) -> bool:
    """Return whether a value can stand in a column of numbers."""
    if column in _PERHAPS and (value is None or value is pd.NA or value != value):
        return True
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        return False
    number = float(value)
    if column == "ms":
        return 0 < number < np.inf
    if column == "seeds":
        return number >= 1 and number.is_integer()
    return 0 <= number <= 1


def _hint(value: object, column: str) -> str:
    """Return what was meant, where a number is one of percent or is written as text."""
    try:
        number = float(str(value).strip().removesuffix("%"))
    except ValueError:
        return ""
    if column not in ("ms", "seeds") and 1 < number <= 100:
        return f". Percent? Give {column}={round(number / 100, 9):g}"
    return f". Give it as a number, {column}={number:g}" if _will_do(number, column) else ""


def together(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network, method, stage and cost: of what is alike in all of these, mean and interval.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of `checked`.
    """
    keys = ["network", "method", "stage", "macs"]
    rows = []
    for setting, part in frame.groupby(keys, sort=False):
        row = dict(zip(keys, setting, strict=True)) | {"value": float(part["value"].mean()), "seeds": len(part)}
        row["low"], row["high"] = interval(part["value"].to_numpy(float))
        if len(part) == 1:
            row |= {end: float(part[end].iloc[0]) for end in ("low", "high")}
            row["seeds"] = int(part["seeds"].fillna(1).iloc[0])
        rows.append(row | {"ms": float(part["ms"].mean())})
    return pd.DataFrame(rows)


def named_apart(frame: pd.DataFrame, stored: Iterable[str]) -> pd.DataFrame:
    """Return rows whose methods are called "FPGM (own)" and the like where a stored study has a method of that name.

    Parameters
    ----------
    frame : pandas.DataFrame
        With ``method``.
    stored : iterable of str
        Names of stored methods, as studies and as figures write them.
    """
    taken = {_folded(name) for name in stored}
    names = list(dict.fromkeys(frame["method"]))
    new: dict[str, str] = {}
    for name in names:
        other = name
        while _folded(other) in taken or (other != name and other in {*names, *new.values()}):
            other += " (own)"
        new[name] = other
    return frame.assign(method=frame["method"].map(new))


def _folded(name: str) -> str:
    return name.strip().casefold().replace("_", " ")

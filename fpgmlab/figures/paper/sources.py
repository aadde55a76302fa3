"""What a paper's figures are made from: stored studies, and rows of one's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import t

from fpgmlab.common.files import data_dir, whole
from fpgmlab.errors import few

Table: TypeAlias = "pd.DataFrame | Mapping[str, Any]"
Results: TypeAlias = "str | os.PathLike[str] | Mapping[str, Table | None] | None"
OWN = ("network", "method", "macs", "value")  # columns of rows of one's own
_READERS: dict[str, Callable[[Path], Table]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
}


@dataclass(frozen=True)
class Sources:
    """Studies by name, as JSON and as tables, and rows that were measured by who calls.

    Attributes
    ----------
    studies : mapping of str to mapping
        What the JSON files hold.
    tables : mapping of str to pandas.DataFrame
        What the Parquet files beside them hold.
    own : pandas.DataFrame
        Rows of one's own, all together: `OWN`, perhaps stage, ms, low, high, seeds; empty without.
    where : str
        In words, for the provenance.
    """

    studies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    own: pd.DataFrame = field(default_factory=pd.DataFrame)
    where: str = "data/results"

    def study(self, name: str, *keys: str) -> Any:  # JSON
        """Return a part of a study, an empty mapping where there is none."""
        found: Any = self.studies.get(name, {})
        for key in keys:
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        return found

    def mine(self, stage: str) -> pd.DataFrame:
        """Return one's own rows of a stage, with intervals over their seeds where they come without."""
        if self.own.empty:
            return self.own
        return self.own[self.own["stage"] == stage]


def sources(results: Results) -> Sources:
    """Return what there is to draw.

    Parameters
    ----------
    results : path-like, mapping or None
        As for `fpgmlab.paper`.

    Raises
    ------
    FileNotFoundError
        For a folder that is not there.
    ValueError
        For a folder without files to read; for rows of one's own without the columns.
    TypeError
        For anything else.
    """
    if results is None:
        return _sorted(dict(_read(data_dir() / "results")), "data/results")
    if isinstance(results, Mapping):
        found: dict[str, Table | None] = dict(_read(data_dir() / "results"))
        for name, table in results.items():
            stems = [stem for stem in found if Path(stem).stem == Path(name).stem]
            if table is None and not stems:
                raise ValueError(f"no stored study {name!r} to be left out; there are: {few(found, 30)}")
            for stem in stems:
                if table is None or isinstance(table, pd.DataFrame) == (Path(stem).suffix != ".json"):
                    del found[stem]
            if table is not None:
                found[f"{name}{'.parquet' if isinstance(table, pd.DataFrame) else '.json'}"] = table
        return _sorted({name: table for name, table in found.items() if table is not None}, "data/results")
    if not isinstance(results, (str, os.PathLike)):
        raise TypeError(
            "results must be a folder like data/results, a mapping of names to tables, or None for the stored studies; "
            f"got {type(results).__name__}"
        )
    folder = Path(results)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {whole(folder)}; results are a folder like data/results")
    there = dict(_read(folder))
    if not there:
        raise ValueError(f"no .json, .parquet or .csv files in {str(folder)!r}")
    return _sorted(there, folder.name)


def _read(folder: Path) -> Iterator[tuple[str, Table]]:
    for path in sorted(folder.iterdir() if folder.is_dir() else []):
        if path.suffix in _READERS:
            yield path.name, _READERS[path.suffix](path)


def _sorted(files: Mapping[str, Table], where: str) -> Sources:
    """Tell studies from rows of one's own: those have the columns."""
    studies: dict[str, Mapping[str, Any]] = {}
    tables: dict[str, pd.DataFrame] = {}
    own = []
    for name, table in files.items():
        stem = Path(name).stem
        if isinstance(table, Mapping):
            studies[stem] = table
        elif not isinstance(table, pd.DataFrame):
            raise TypeError(f"{stem} must be a DataFrame or a study's mapping; got {type(table).__name__}")
        elif "method" in table or (stem not in ("recovery", "detector_recovery") and f"{stem}.json" not in files):
            own.append(_checked(stem, table))
        else:
            tables[stem] = table
    return Sources(studies, tables, pd.concat(own, ignore_index=True) if own else pd.DataFrame(), where)


def _checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows of one's own: one for each network, method, stage and cost, seeds made an interval."""
    missing = [column for column in OWN if column not in frame]
    if missing or frame.empty:
        raise ValueError(
            f"{name} is no stored study, so it must hold rows of your own with the columns {few(OWN)}; missing: "
            f"{few(missing) or 'rows'}"
        )
    values = frame[["macs", "value"]].to_numpy(float)
    if not np.isfinite(values).all() or not frame["macs"].between(0, 1).all():
        raise ValueError(f"{name}: macs must be fractions of the unpruned network's and value a number, in each row")
    frame = frame.assign(stage=frame.get("stage", "repaired"))
    keys = ["network", "method", "stage", "macs"]
    rows = []
    for setting, part in frame.groupby(keys, sort=False):
        row = dict(zip(keys, setting, strict=True)) | {"value": float(part["value"].mean()), "seeds": len(part)}
        if len(part) > 1:
            row["low"], row["high"] = interval(part["value"].to_numpy(float))
        else:
            row |= {end: float(part[end].iloc[0]) if end in part else np.nan for end in ("low", "high")}
            row["seeds"] = int(part["seeds"].iloc[0]) if "seeds" in part else 1
        row["ms"] = float(part["ms"].mean()) if "ms" in part else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a mean, by Student's t; NaN of fewer than two values.

    Examples
    --------
    >>> low, high = interval(np.array([0.92, 0.93, 0.94]))
    >>> round(low, 3), round(high, 3)
    (0.905, 0.955)
    """
    count = len(values)
    if count < 2:
        return float("nan"), float("nan")
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return float(values.mean()) - half, float(values.mean()) + half


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a share of so many pictures (Wilson, JASA 22, 1927)."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = 1.959964 / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return float(middle - half), float(middle + half)

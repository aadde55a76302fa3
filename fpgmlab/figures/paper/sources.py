"""What a paper's figures are made from: stored studies, and rows of one's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from fpgmlab.common.files import data_dir, whole
from fpgmlab.errors import few
from fpgmlab.figures.paper.own import checked, named_apart, together

Table: TypeAlias = "pd.DataFrame | Mapping[str, Any]"
Results: TypeAlias = "str | os.PathLike[str] | Mapping[str, Table | None] | None"
_RUN = ("ONNX Runtime, float32", "ONNX Runtime, INT8", "OpenVINO, float32", "OpenVINO, INT8")
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
        Rows of one's own, all together: network, method, macs, value, stage, ms, low, high, seeds; empty without.
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
        For a folder without files to read; for rows of one's own without the columns, or of what cannot be.
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
            own.append(checked(stem, table))
        else:
            tables[stem] = table
    if not own:
        return Sources(studies, tables, where=where)
    mine = named_apart(pd.concat(own, ignore_index=True), _methods(studies))
    return Sources(studies, tables, together(mine), where)


def _methods(studies: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the names of methods beside which rows of one's own are drawn."""
    networks = studies.get("reconstruction", {}).get("networks", {}).values()
    names = {criterion for network in networks for criterion in network["after_repair"]}
    names |= {row["criterion"] for row in studies.get("recovery", {}).get("ways", [])}
    return names | set(_RUN if "quantization" in studies else ())

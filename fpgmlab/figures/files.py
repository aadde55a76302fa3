"""Figures on disk, with the data they show and the record of where they come from."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import pandas as pd
from matplotlib.figure import Figure

from fpgmlab.common.files import atomic_path
from fpgmlab.common.given import described
from fpgmlab.common.repository import git_state
from fpgmlab.figures.record import readable, versions
from fpgmlab.figures.style import settings
from fpgmlab.figures.style import style as default_style

Data: TypeAlias = "pd.DataFrame | Mapping[str, pd.DataFrame] | None"
# No dates and no program names: the same figure gives the same bytes.
_METADATA = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}, "png": {"Software": None}}


def save_figure(figure: Figure, data: Data, path: str | os.PathLike[str], **parameters: object) -> list[Path]:
    """Write a figure as PDF and PNG, its data as CSV and its provenance as JSON; the same bytes each time.

    The pages are exactly as wide as the figure. Nothing is written unless everything can be.

    Parameters
    ----------
    figure : Figure
    data : DataFrame, mapping of str to DataFrame, or None
        What the figure shows: ``path.csv``, or ``path.<name>.csv`` for each of a mapping.
    path : path-like
        Without its ending: ``outputs/fig1`` gives ``fig1.pdf``, ``fig1.png``, ``fig1.csv`` and ``fig1.json``.
    **parameters
        What the figure was made with, such as ``model="resnet20", ratio=0.4, seed=0``. What JSON cannot hold is put in
        words.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    TypeError
        For a figure or data of another type.
    ValueError
        For a path with one of the endings, or a name in ``data`` that cannot be part of a file's name.
    OSError
        When a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> frame = plan.frame(graph)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = fl.figures.save_figure(fl.figures.plan_bars(frame), frame, f"{folder}/plan", ratio=0.4)
    >>> [path.name for path in written]
    ['plan.pdf', 'plan.png', 'plan.csv', 'plan.json']
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure; got {type(figure).__name__}")
    stem = _checked_path(path)
    tables = {f"{stem.name}{name}.csv": _csv(frame) for name, frame in _checked_data(data).items()}
    files = {f"{stem.name}.{kind}": drawn(figure, kind) for kind in _METADATA} | tables
    record = {
        "figures": [f"{stem.name}.{kind}" for kind in _METADATA],
        "data": {name: hashlib.sha256(content).hexdigest() for name, content in tables.items()},
        "parameters": {name: readable(value) for name, value in parameters.items()},
        "versions": versions(),
        "git": git_state(results=stem.parent),
    }
    files[f"{stem.name}.json"] = (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    targets = [stem.with_name(name) for name in files]
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(f"cannot write {str(target)!r}: it is a folder. Choose another path.")
    for target, content in zip(targets, files.values(), strict=True):
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)
    return targets


def _checked_path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the files' path without ending, such as 'outputs/fig1'; got {described(path)}")
    stem = Path(path)
    if stem.name in ("", ".."):
        raise ValueError(f"path must end in the name of the figure, such as 'outputs/fig1'; got {str(path)!r}")
    if stem.suffix in (".pdf", ".png", ".csv", ".json"):
        raise ValueError(f"path must come without its ending, {str(stem.with_suffix(''))!r}; got {str(path)!r}")
    return stem


def _checked_data(data: Data) -> dict[str, pd.DataFrame]:
    """Return the tables by what is added to the figure's name."""
    if data is None:
        return {}
    if isinstance(data, pd.DataFrame):
        return {"": data}
    expected = "data must be a pandas DataFrame, a mapping of names to DataFrames, or None"
    if not isinstance(data, Mapping):
        raise TypeError(f"{expected}; got {type(data).__name__}")
    for name, frame in data.items():
        if not isinstance(name, str) or not isinstance(frame, pd.DataFrame):
            raise TypeError(f"{expected}; got {type(frame).__name__} under {name!r}")
        if not name or set(name) & set('/\\:*?"<>|\0'):
            raise ValueError(f"the names in data become part of file names; {name!r} cannot")
    return {f".{name}": frame for name, frame in data.items()}


def _csv(frame: pd.DataFrame) -> bytes:
    numbered = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    return frame.to_csv(index=not numbered, lineterminator="\n").encode()


def drawn(figure: Figure, kind: str) -> bytes:
    """Return a figure as a PDF's or PNG's bytes, the same each time."""
    buffer = io.BytesIO()
    with settings(default_style()):
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()

"""The files of the stored studies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from fpgmlab.common.files import data_dir
from fpgmlab.errors import unknown


def folder() -> Path:
    """Return the folder of the stored studies: ``results/`` in the data folder (see ``FPGMLAB_DATA``).

    Raises
    ------
    FileNotFoundError
        When there is no data folder.
    """
    return data_dir() / "results"


def load(name: str) -> dict:
    """Return a stored study as it is: the JSON with its head (``study``).

    Parameters
    ----------
    name : str
        As in `fpgmlab.results`.

    Raises
    ------
    ValueError
        When there is no such study; the nearest name is told.
    """
    path = folder() / f"{name}.json"
    content = _study(path) if path.is_file() else None
    if content is None:
        raise ValueError(unknown("study", name, [path.stem for path, _ in stored()]))
    return content


def stored() -> Iterator[tuple[Path, dict]]:
    """Yield each file with a study's head; what lies there without one, such as a figure's record, is no study."""
    for path in sorted(folder().glob("*.json")):
        content = _study(path)
        if content is not None:
            yield path, content


def _study(path: Path) -> dict | None:
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) and "study" in content else None

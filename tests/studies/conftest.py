"""A data folder with two small studies and a claim."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

HEAD = {"title": "t", "machine": "m", "version": "0.1.0"}
ROWS = [{"way": "a", "points": 1.0}, {"way": "b", "points": -2.5}]


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the studies, which `fpgmlab.studies` reads then."""
    (tmp_path / "README.md").touch()
    folder = tmp_path / "results"
    folder.mkdir()
    small = {
        "study": {"name": "small", "command": "python small.py", "date": "2026-11-01", **HEAD},
        "part": {"command": "python small.py --part part", "date": "2026-10-01", "rows": ROWS},
        "named": {"x": {"value": 1}, "y/z": {"value": 2}},
        "deep": [{"seed": 0}, {"seed": 1, "history": {"step": [0, 1]}}],
        "flag": True,
        "share": 0.4231,
    }
    other = {"study": {"name": "other", "command": "python other.py", "date": "2026-11-02", **HEAD}, "size": "7.04 GB"}
    (folder / "small.json").write_text(json.dumps(small))
    (folder / "other.json").write_text(json.dumps(other))
    (folder / "picture.json").write_text(json.dumps({"figures": ["picture.png"]}))
    pd.DataFrame(ROWS).to_parquet(folder / "small.parquet")
    monkeypatch.setenv("FPGMLAB_DATA", str(tmp_path))
    return folder

"""Checkpoints written for a test, and real ones that are fetched."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch

from fpgmlab.checkpoints.assets import AssetError, fetch
from fpgmlab.checkpoints.unpickling import read_checkpoint


def saved(content: object, path: Path) -> object:
    torch.save(content, path)
    return read_checkpoint(path)


def archive(path: Path, content: bytes, members: dict[str, bytes] | None = None, **options: int) -> Path:
    """Write a checkpoint around a pickle made by hand."""
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("archive/data.pkl", content)
        for name, data in (members or {}).items():
            file.writestr(name, data)
    return path


def fetched(name: str) -> Path:
    try:
        return fetch(name, progress=False)
    except AssetError as error:
        if os.environ.get("FPGMLAB_REQUIRE_ASSETS") == "1":
            raise
        pytest.skip(str(error))

"""Tensors put aside come back as they were, from memory or from files, and no file is left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from fpgmlab.common.shelf import Shelf


def test_beyond_its_memory_it_uses_files_and_leaves_none(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tensors = {i: torch.randn(100) for i in range(5)}  # 400 bytes each
    with Shelf(1000) as shelf:
        for key, tensor in tensors.items():
            shelf.put(key, tensor)
        assert len(list(tmp_path.rglob("*.pt"))) == 3
        assert all(torch.equal(shelf.take(key), tensor) for key, tensor in reversed(tensors.items()))
        assert shelf.left == 1000
        assert not list(tmp_path.rglob("*.pt"))
        shelf.put("again", torch.zeros(1000))
    assert not list(tmp_path.iterdir())

"""What a figure was made with: parameters in words, versions, the state of the repository."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Set
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import fpgmlab

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib")
_FEW = 32  # numbers of an array that are written out
_DEPTH = 12  # of nested containers


def readable(value: object, depth: int = 0) -> object:
    """Return what JSON can hold, the same in each run: numbers and texts as they are, anything else in words."""
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, np.generic):
        return readable(value.item(), depth)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, (Tensor, np.ndarray)):
        return _array(value, depth)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return f"{type(value).__name__} {value.shape}"
    if isinstance(value, nn.Module):
        return f"{type(value).__name__}, {sum(p.numel() for p in value.parameters())} parameters"
    if depth < _DEPTH:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: readable(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)}
            return {"type": type(value).__name__} | fields
        if isinstance(value, Mapping):
            return {str(readable(key, _DEPTH)): readable(item, depth + 1) for key, item in value.items()}
        if isinstance(value, Set):
            return sorted((readable(item, depth + 1) for item in value), key=lambda item: (str(type(item)), str(item)))
        if isinstance(value, (list, tuple, range)):
            return [readable(item, depth + 1) for item in value]
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # an address differs from run to run


def versions() -> dict[str, str | None]:
    """Return the versions of Python, fpgmlab and what it computes with; None for one without."""
    found: dict[str, str | None] = {"python": platform.python_version(), "fpgmlab": fpgmlab.__version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_state(folder: str | os.PathLike[str] = ".", results: str | os.PathLike[str] = ".") -> dict[str, object] | None:
    """Return the revision of the repository around a folder, and whether tracked files differ from it.

    Parameters
    ----------
    folder : path-like
    results : path-like
        PDF, PNG, CSV and JSON files in this folder do not count: the first run's would make the second run's record
        another one.

    Returns
    -------
    dict or None
        ``revision`` and ``dirty``; None outside of a repository, without git or before the first commit.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    revision = _git(folder, "rev-parse", "--verify", "HEAD")
    if not top or not revision:
        return None
    root, results = Path(top.strip()).resolve(), Path(results).resolve()
    without = []
    if results.is_relative_to(root):
        where = results.relative_to(root).as_posix()
        prefix = "" if where == "." else f"{_escaped(where)}/"
        without = [f":(top,exclude,glob){prefix}*.{kind}" for kind in ("pdf", "png", "csv", "json")]
    status = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *without)
    return {"revision": revision.strip(), "dirty": None if status is None else bool(status)}


def _escaped(name: str) -> str:
    return re.sub(r"([\[\]*?\\])", r"\\\1", name)


def _array(value: Tensor | np.ndarray, depth: int) -> object:
    array = value.detach().cpu() if isinstance(value, Tensor) else value
    if isinstance(array, Tensor):
        array = array.to_dense() if array.layout != torch.strided else array
        kind = str(array.dtype).removeprefix("torch.")
        array = (array.float() if array.dtype is torch.bfloat16 else array).resolve_conj().resolve_neg().numpy()
    else:
        kind = str(array.dtype)
    if array.size <= _FEW:
        return readable(array.tolist(), depth)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() if array.dtype != object else "unknown"
    return f"{type(value).__name__} {array.shape} {kind}, sha256 {digest}"


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    """Return what git says, None when it fails or is not there."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # look only: another git may be at work
    command = ["git", "-C", os.fspath(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=20, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")

"""What a figure was made with: parameters in words, versions."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import platform
import re
from collections.abc import Mapping, Set
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

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

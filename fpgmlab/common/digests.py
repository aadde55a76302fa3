"""Digests of data: enough to tell whether two things are the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def digest(value: Any) -> str:
    """Return a BLAKE2b digest of tensors (bytes, shape, type), texts, numbers, and dicts, lists and tuples of them."""
    state = hashlib.blake2b(digest_size=16)
    _feed(state, value)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        state.update(f"{value.dtype}{tuple(value.shape)}".encode())
        plain = value.detach().to("cpu").contiguous().reshape(-1)
        state.update(plain.view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        _feed(state, list(value.items()))
    elif isinstance(value, (list, tuple)):
        state.update(f"[{len(value)}]".encode())
        for item in value:
            _feed(state, item)
    else:
        state.update(described(value).encode() + b"\0")


def described(value: Any, text: Any = repr) -> str:
    """Return an object's text without its place in memory, which is another in each process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text(value))

"""Memory that was freed, given back."""

from __future__ import annotations

import ctypes


def trim_memory() -> None:
    """Give to the system what was freed, as far as the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
    if trim is not None:
        trim(0)

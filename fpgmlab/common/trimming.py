"""Memory that was freed, given back."""

from __future__ import annotations

import ctypes
import sys


def trim_memory() -> None:
    """Give to the system what was freed, as far as the C library can."""
    if (
        sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None
    ):  # glibc has it
        trim(0)

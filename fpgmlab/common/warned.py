"""Warnings that point to the line of who uses the package."""

from __future__ import annotations

import sys
import warnings

# Packages whose frames are passed over: this one, and those whose decorators and calls lie between two of its own.
_BETWEEN = {__name__.partition(".")[0], "torch", "contextlib", "functools"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and point to the line that called into the package, however deep in it the reason was found.

    Parameters
    ----------
    message : str
    category : type of Warning
    """
    frame, level = sys._getframe(1), 2  # Python 3.12 has skip_file_prefixes for it
    while frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

"""Errors for people: panels show them in words, never as a traceback."""

from __future__ import annotations


def in_words(error: BaseException) -> str:
    """Return an error for people: what an error of ours says, with its kind where others raised it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename!r}" if error.filename else str(error.strerror)
    if isinstance(error, (ValueError, RuntimeError, FloatingPointError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

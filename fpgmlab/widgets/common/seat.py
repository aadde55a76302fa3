"""Whether this kernel is a visitor's, in a class on somebody else's machine: `make classroom` says so."""

from __future__ import annotations

import os

FOLDER = "FPGMLAB_CLASSROOM"  # the environment variable with the folder in which desks tell the class of their plans
SEAT = "HTTP_X_SEAT"  # and that with the number of the visitor's desk, the same when the page is loaded again


def in_class() -> bool:
    """Tell whether others compute on this machine as well, so that times mean nothing."""
    return bool(os.environ.get(FOLDER))


def seat() -> int | None:
    """Return the number of the visitor's desk; None where there is no class."""
    number = os.environ.get(SEAT, "")
    return int(number) if os.environ.get(FOLDER) and number.isascii() and number.isdigit() else None

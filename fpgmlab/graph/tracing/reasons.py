"""Why channels must stay, and what would free them."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """Why some channels must stay.

    Attributes
    ----------
    text : str
        The reason, in words.
    remedy : str
        What a user can do to free them; empty where nothing is known to.
    """

    text: str
    remedy: str = ""

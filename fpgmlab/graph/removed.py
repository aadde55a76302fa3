"""What a graph needs to know of a plan, which is made in a later room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class HasRemoved(Protocol):
    """What a graph needs of a plan: ``fpgmlab.Plan`` has it."""

    @property
    def widths(self) -> Mapping[str, int]: ...

    @property
    def removed(self) -> Mapping[str, tuple[int, ...]]: ...

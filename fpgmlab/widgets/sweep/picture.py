"""The picture of a `SweepPanel`, for where no kernel runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fpgmlab.sensitivity import Curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HasCurves(Protocol):
    """What has measured something, perhaps."""

    @property
    def curves(self) -> Curves | None: ...


def sweep_picture(panel: HasCurves) -> Figure | None:
    """Return the map of what was measured so far; None before there is anything."""
    from fpgmlab.figures import sensitivity_map

    found = panel.curves
    return None if found is None else sensitivity_map(found.frame, unmeasurable=found.unmeasurable)

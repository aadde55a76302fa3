"""`GammaPanel`: one threshold for all batch norms' scales, and its cliff."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import traitlets
from torch import Tensor

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.common.bundle import script, sheet
from fpgmlab.widgets.common.panel import Panel
from fpgmlab.widgets.gammas.view import GammaView, gamma_scores, gamma_view, gammas_picture, pooled_payload

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


_STATIC = Path(__file__).parent / "static"


class GammaPanel(Panel):
    """Slide network slimming's global ratio, and see what the threshold leaves of each layer.

    The histogram and the bars move in the browser; the kernel confirms the exact costs. ``ratio``, ``floor`` and
    ``log`` can be assigned and observed.

    Parameters
    ----------
    graph : ChannelGraph
    floor : float
        0 <= floor <= 1: the share of its channels that each group keeps, at least one channel.
    ratio : float
        0 <= ratio < 1: the share of the channels of all prunable groups below the threshold.
    scores : mapping of str to Tensor, optional
        The scales of the batch norms, ``fl.score(graph, "bn_gamma")``, when left out.
    large : bool
        Type and pictures for a room.

    Raises
    ------
    ValueError
        For a network without batch norms and no other scores; for scores that are missing, of wrong length or NaN.
    traitlets.TraitError
        For a ratio or floor out of range, here and when one is assigned.
    """

    _esm = script(_STATIC / "gammas.js")
    _css = sheet(_STATIC)

    ratio = traitlets.Float(0.3).tag(sync=True)
    floor = traitlets.Float(0.0).tag(sync=True)
    log = traitlets.Bool(False).tag(sync=True)
    pooled = traitlets.Dict().tag(sync=True)
    label = traitlets.Unicode("|gamma|").tag(sync=True)
    confirmed = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        graph: ChannelGraph,
        *,
        floor: float = 0.0,
        ratio: float = 0.3,
        scores: Mapping[str, Tensor] | None = None,
        large: bool = False,
    ) -> None:
        self._graph = graph
        self._scores = gamma_scores(graph) if scores is None else dict(scores)
        label = "|gamma|" if scores is None else "score"
        pooled = pooled_payload(graph, self._scores)
        super().__init__(ratio=ratio, floor=floor, label=label, pooled=pooled, large=large)
        self._confirm()
        self.observe(self._confirm, ["ratio", "floor"])

    @traitlets.validate("ratio")
    def _share(self, proposal: dict) -> float:
        if not 0 <= proposal["value"] < 1:
            raise traitlets.TraitError(f"ratio must be a number with 0 <= ratio < 1; got {proposal['value']!r}")
        return proposal["value"]

    @traitlets.validate("floor")
    def _least(self, proposal: dict) -> float:
        if not 0 <= proposal["value"] <= 1:
            raise traitlets.TraitError(f"floor must be a share of a layer's channels, 0 to 1; got {proposal['value']}")
        return proposal["value"]

    @property
    def view(self) -> GammaView:
        """Everything that follows from ratio and floor, as data."""
        return self._view

    @property
    def plan(self) -> Plan:
        """The channels below the threshold, but for the floors."""
        return self._view.plan

    @property
    def threshold(self) -> float:
        """The lowest score above it."""
        return self._view.threshold

    @property
    def cliff(self) -> float:
        """The ratio from which on a first group is held at its floor."""
        return self._view.cliff

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each prunable group, in network order: group, channels, kept, at_floor.

        ``at_floor`` tells that the threshold asks for more channels than the floor lets go.
        """
        return self._view.frame[["group", "channels", "kept", "at_floor"]].copy()

    def _picture(self) -> Figure:
        return gammas_picture(self._scores, self._view, self.label, self.log)

    def _in_words(self) -> str:
        return f"GammaPanel, ratio {self.ratio:.3g}: {self.plan!r}"

    def _confirm(self, change: object = None) -> None:
        with self._lock:
            view = gamma_view(self._graph, self._scores, self.ratio, self.floor)
            self._view = view
            self.confirmed = {
                "ratio": view.ratio,
                "floor": view.floor,
                "kept": view.frame["kept"].tolist(),
                "floors": view.frame["floor_ratio"].tolist(),
                "macs": view.cost.macs,
                "params": view.cost.params,
            }

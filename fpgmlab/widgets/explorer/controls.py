"""The controls above `FilterExplorer`: plain ipywidgets with labels."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets

from fpgmlab.criteria import NAMED, Criterion
from fpgmlab.graph.channel_graph import ChannelGraph

_WORDS = {
    "fpgm": "FPGM: sum of distances",
    "fpgm_mix": "FPGM after small norms",
    "l1": "L1 norm",
    "l2": "L2 norm",
    "bn_gamma": "Batch norm's |gamma|",
    "random": "Random",
}


class ExplorerControls:
    """Dropdowns for group and criterion; a slider and a number for the ratio.

    Attributes
    ----------
    box : ipywidgets.Widget
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph = graph
        self._group = ipywidgets.Dropdown(
            options=[(_group_words(graph, name), name) for name in graph],
            description="Channel group",
            tooltip="Channels that can only be removed together; shown are the filters of the first layer",
        )
        self._criterion = ipywidgets.Dropdown(
            options=_criteria("fpgm"), description="Criterion", tooltip="Gives each filter a score; the lowest go first"
        )
        self._slider = ipywidgets.FloatSlider(
            min=0, max=0.99, step=0.01, readout=False, description="Ratio removed",
            tooltip="The share of the group's channels to remove",
        )  # fmt: skip
        self._number = ipywidgets.BoundedFloatText(
            min=0, max=0.99, step=0.01, description="Ratio, as a number", tooltip="The same ratio, to type in"
        )
        for control, width in ((self._group, "21em"), (self._criterion, "19em"), (self._slider, "21em"),
                               (self._number, "16em")):  # fmt: skip
            control.style.description_width = "initial"
            control.layout.width = width
            control.layout.max_width = "100%"
        self.box = ipywidgets.HBox([self._group, self._criterion, self._slider, self._number])
        self.box.layout.flex_flow = "row wrap"

    def observe(self, chosen: Callable[[str, object], None]) -> None:
        """Call ``chosen(name, value)`` whenever a person sets one of them."""
        for control, name in ((self._group, "group"), (self._criterion, "criterion"), (self._slider, "ratio"),
                              (self._number, "ratio")):  # fmt: skip
            control.observe(lambda change, name=name: chosen(name, change["new"]), "value")

    def show(self, group: str, criterion: str | Criterion, ratio: float) -> None:
        """Set all of them."""
        self._group.value = group
        options = _criteria(criterion)
        if options != list(self._criterion.options):
            self._criterion.options = options
        self._criterion.value = criterion
        for control in (self._slider, self._number):
            control.value = min(ratio, control.max)
            control.disabled = self._graph[group].protected is not None


def _group_words(graph: ChannelGraph, name: str) -> str:
    group = graph[name]
    return f"{name} ({group.channels}{', protected' if group.protected is not None else ''})"


def _criteria(current: str | Criterion) -> list[tuple[str, str | Criterion]]:
    """Return the named criteria, and the current one when it is an object."""
    named: list[tuple[str, str | Criterion]] = [(_WORDS.get(name, name), name) for name in NAMED]
    return named if isinstance(current, str) else [*named, (current.label, current)]

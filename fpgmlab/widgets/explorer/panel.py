"""`FilterExplorer`: the filters of a group as distances, as points and as pictures, at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import traitlets
from torch import Tensor

from fpgmlab.criteria import NAMED, Criterion
from fpgmlab.criteria.scoring import resolve
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.naming import unknown_group
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.common.bundle import script, sheet
from fpgmlab.widgets.common.panel import Panel
from fpgmlab.widgets.explorer.payload import choices_payload, marks_payload, notes, scene_payload, summary
from fpgmlab.widgets.explorer.view import FilterView, explorer_picture, filter_view

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


_STATIC = Path(__file__).parent / "static"


class FilterExplorer(Panel):
    """Look at the filters of a channel group: which are alike, and which a criterion removes.

    Distance matrix, map and tiles show the same filters, those of the group's first producer; to point at one in any of
    them marks it in all. ``group``, ``criterion``, ``ratio`` and ``selected`` can be assigned and observed.

    Parameters
    ----------
    graph : ChannelGraph
    criterion : str or Criterion
        As in `fpgmlab.score`.
    ratio : float
        0 <= ratio < 1: the share of the group's channels to remove.
    group : str, optional
        The first group that is not protected when left out.
    large : bool
        Type and pictures for a room.

    Attributes
    ----------
    selected : int or None
        The channel of the group whose filter is marked; None again in another group.
    view : FilterView or None
        What is shown, as data; None when the criterion does not apply.
    message : str
        Why nothing is shown, in words; else empty.

    Raises
    ------
    traitlets.TraitError
        For a group, criterion, ratio or selection that does not exist, here and when one is assigned.
    """

    _esm = script(_STATIC / "explorer.js")
    _css = sheet(_STATIC)

    group = traitlets.Unicode().tag(sync=True)
    criterion = traitlets.Any("fpgm")
    ratio = traitlets.Float(0.3).tag(sync=True)
    selected = traitlets.Int(None, allow_none=True)
    # Of the browser alone: what there is to choose from, which rule and which filter are, and what is drawn.
    choices = traitlets.Dict().tag(sync=True)
    rule = traitlets.Int(0).tag(sync=True)
    place = traitlets.Int(None, allow_none=True).tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)
    marks = traitlets.Dict().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        graph: ChannelGraph,
        *,
        criterion: str | Criterion = "fpgm",
        ratio: float = 0.3,
        group: str | None = None,
        large: bool = False,
    ) -> None:
        self._graph = graph
        self._showing = False
        self._state: tuple[FilterView | None, str] = (None, "")
        super().__init__(large=large)
        free = [name for name, g in graph.items() if g.protected is None]
        with self.hold_trait_notifications():
            self.group = (free or list(graph))[0] if group is None else group
            self.criterion, self.ratio = criterion, ratio
        self._show()
        self.observe(self._show, ["group", "criterion", "ratio"])
        self.observe(self._mark, "selected")
        self.observe(self._picked, "place")
        self.observe(self._chosen, "rule")

    # What it is set to -------------------------------------------------------------------------------------------

    @traitlets.validate("group")
    def _known_group(self, proposal: dict) -> str:
        if proposal["value"] not in self._graph:
            raise traitlets.TraitError(unknown_group(self._graph, proposal["value"]))
        return proposal["value"]

    @traitlets.validate("criterion")
    def _known_criterion(self, proposal: dict) -> str | Criterion:
        try:
            resolve(proposal["value"])
        except (ValueError, TypeError) as error:
            raise traitlets.TraitError(str(error)) from None
        return proposal["value"]

    @traitlets.validate("ratio")
    def _share(self, proposal: dict) -> float:
        if not 0 <= proposal["value"] < 1:
            raise traitlets.TraitError(f"ratio must be a number with 0 <= ratio < 1; got {proposal['value']!r}")
        return proposal["value"]

    @traitlets.validate("selected")
    def _shown_filter(self, proposal: dict) -> int | None:
        view, value = self._state[0], proposal["value"]
        channels = [] if view is None else view.scene.channels.tolist()
        if value is not None and value not in channels:
            allowed = f"0 to {max(channels)}" if channels else "no filter is shown"
            raise traitlets.TraitError(f"selected must be None or a filter that is shown ({allowed}); got {value}")
        return value

    # What comes of it --------------------------------------------------------------------------------------------

    @property
    def graph(self) -> ChannelGraph:
        """The graph that is looked into."""
        return self._graph

    @property
    def view(self) -> FilterView | None:
        """What is shown, as data; None when the criterion does not apply."""
        return self._state[0]

    @property
    def message(self) -> str:
        """Why nothing is shown, in words; else empty."""
        return self._state[1]

    @property
    def scores(self) -> Tensor:
        """The scores of the group's channels, (channels,) float64."""
        return self._shown().scores

    @property
    def removed(self) -> tuple[int, ...]:
        """The group's removed channels, ascending."""
        return self._shown().removed

    @property
    def plan(self) -> Plan:
        """The plan that removes just these."""
        return self._shown().plan

    def neighbours(self) -> pd.DataFrame:
        """Return the nearest filters of the selected one, of each when none is selected.

        Returns
        -------
        pandas.DataFrame
            Columns filter, neighbour (channels of the group), distance, score and removed (the neighbour's); the
            nearest first.
        """
        import pandas as pd

        view, selected = self._shown(), self.selected
        scene = view.scene
        rows = range(len(scene)) if selected is None else [scene.channels.tolist().index(selected)]
        found = [(scene.channels[i], scene.channels[j], d) for i in rows
                 for j, d in zip(scene.neighbours[i], scene.neighbour_distances[i], strict=True)]  # fmt: skip
        frame = pd.DataFrame(found, columns=["filter", "neighbour", "distance"])
        frame["score"] = view.scores.numpy()[frame["neighbour"].to_numpy(int)]
        frame["removed"] = frame["neighbour"].isin(view.removed)
        return frame

    def refresh(self) -> None:
        """Look at the weights again, after they have changed."""
        with self._lock:
            self._state = (None, "")
            self._show()

    def _picture(self) -> Figure | None:
        return None if self.view is None else explorer_picture(self._graph, self.view)

    def _in_words(self) -> str:
        return f"FilterExplorer of group {self.group!r}" + ("" if self.view is None else f": {self.plan!r}")

    def _shown(self) -> FilterView:
        view, message = self._state
        if view is None:
            raise ValueError(message)
        return view

    # Between the state and the screen ------------------------------------------------------------------------------

    def _show(self, change: object = None) -> None:
        """Compute what the state asks for, and show it."""
        with self._lock:
            before = self._state[0]
            group, criterion, ratio = self.group, self.criterion, self.ratio
            try:
                view, message = filter_view(self._graph, group, criterion, ratio, reuse=before), ""
            except Exception as error:  # a rule of one's own may raise anything
                name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                view, message = None, f"{name}{error}"
            self._state = (view, message)
            if view is None or before is None or before.scene.group != view.scene.group:
                self.selected = None
            self._draw(view, message, same_scene=before is not None and view is not None and before.scene is view.scene)

    def _draw(self, view: FilterView | None, message: str, same_scene: bool) -> None:
        self._showing = True
        try:
            with self.hold_sync():
                self.choices = choices_payload(self._graph, self.criterion)
                self.rule = self._rules().index(self.criterion)
                if view is None:
                    self.scene, self.marks, self.words = {}, {}, {"message": message}
                    return
                if not same_scene:
                    self.scene = scene_payload(view.scene)
                self.marks = marks_payload(view)
                self.words = {"message": "", "notes": notes(self._graph, view), "summary": summary(self._graph, view)}
                self.place = self._place(view, self.selected)
        finally:
            self._showing = False

    def _rules(self) -> list[str | Criterion]:
        """Return the criteria that can be chosen: the named ones, and the current one when it is an object."""
        return [*NAMED] if isinstance(self.criterion, str) else [*NAMED, self.criterion]

    def _place(self, view: FilterView | None, channel: int | None) -> int | None:
        return None if view is None or channel is None else view.scene.channels.tolist().index(channel)

    def _mark(self, change: object) -> None:
        with self._lock:
            self.place = self._place(self._state[0], self.selected)

    def _picked(self, change: object) -> None:
        with self._lock:
            view, place = self._state[0], self.place
            # A click may arrive when its group has already gone.
            if view is not None and place is not None and 0 <= place < len(view.scene):
                self.selected = int(view.scene.channels[place])
            else:
                self.selected = self.place = None

    def _chosen(self, change: object) -> None:
        with self._lock:
            rules = self._rules()
            if not self._showing and 0 <= self.rule < len(rules):
                self.criterion = rules[self.rule]

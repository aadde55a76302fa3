"""The plans before and after the one on the desk, for undo and redo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.desk.exchanges import Exchanges

MOST = 500  # plans that can be undone
STEPS = ("edit", "undo", "redo")  # how a desk goes from one plan to another
Own = Mapping[str, tuple[int, ...]]  # what goes of groups where a plan that was assigned says it and not the scores


@dataclass(frozen=True)
class Entry:
    """A plan as the bars have it: how many channels each group keeps, and which go where the scores do not say it.

    Attributes
    ----------
    kept : tuple of int
        In network order.
    own : mapping of str to tuple of int
        Before exchanges by hand.
    exchanged : mapping of str to tuple of pairs
    """

    kept: tuple[int, ...]
    own: Own = field(default_factory=dict)
    exchanged: Exchanges = field(default_factory=dict)

    def payload(self, names: Sequence[str]) -> dict[str, Any]:
        """Return it as JSON, the groups of these names by their place; `read_entry` takes it back."""
        places = {name: str(place) for place, name in enumerate(names)}
        return {
            "kept": list(self.kept),
            "own": {places[name]: list(channels) for name, channels in self.own.items()},
            "exchanged": {places[name]: [list(pair) for pair in pairs] for name, pairs in self.exchanged.items()},
        }


class History:
    """Where undo and redo lead to; the browser keeps the same (static/history.js), so that it need not wait.

    Attributes
    ----------
    past, future : list of Entry
        The nearest is the last.
    """

    def __init__(self) -> None:
        self.past: list[Entry] = []
        self.future: list[Entry] = []

    def moved(self, what: str, before: Entry, now: Entry) -> None:
        """Note that the desk went from one plan to another, by one of `STEPS`."""
        here, there = (self.past, self.future) if what == "undo" else (self.future, self.past)
        if what != "edit" and here and here[-1] == now:
            here.pop()
            there.append(before)
        else:  # also a step back to what is not known here: a cell came between
            self.past = [*self.past, before][-MOST:]
            self.future = []

    def next(self, what: str) -> Entry | None:
        """Return where undo or redo leads to, or None."""
        entries = self.past if what == "undo" else self.future
        return entries[-1] if entries else None

    def payload(self, names: Sequence[str]) -> dict[str, Any]:
        """Return it as JSON; see `Entry.payload`."""
        return {
            "past": [entry.payload(names) for entry in self.past],
            "future": [entry.payload(names) for entry in self.future],
        }


def read_own(graph: ChannelGraph, kept: Sequence[int], content: object) -> Own:
    """Return removed channels by group name, from lists by the group's place as a text; names may be numbers, too.

    Parameters
    ----------
    graph : ChannelGraph
    kept : sequence of int
        How many channels each group keeps.
    content : object

    Raises
    ------
    ValueError
        For what is not understood, or cannot be removed.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"channels must be lists by the place of their group; got {content!r}")
    names, own = list(graph), {}
    for place, channels in content.items():
        if not (isinstance(place, str) and place.isdecimal() and int(place) < len(names)):
            raise ValueError(f"the place of a group must be a text, '0' to '{len(names) - 1}'; got {place!r}")
        name = names[int(place)]
        if not isinstance(channels, (list, tuple)) or any(type(channel) is not int for channel in channels):
            raise ValueError(f"group {name!r}: channels must be a list of whole numbers; got {channels!r}")
        if len(channels) != graph[name].channels - kept[int(place)]:
            raise ValueError(f"group {name!r} is to keep {kept[int(place)]}, but {len(channels)} channels are to go")
        own[name] = tuple(channels)
    checked = Plan({name: graph[name].channels for name in own}, own)
    graph.check(checked)
    return checked.removed

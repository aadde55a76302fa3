"""Numbers of kept channels, as the bars show them, and the plans that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.naming import unknown_group
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Scores, checked_scores, lowest
from fpgmlab.widgets.desk.exchanges import Exchanges, checked_exchanges, exchanged, exchanged_scores
from fpgmlab.widgets.desk.history import Entry, read_own
from fpgmlab.widgets.desk.payload import cells_kept


class Bars:
    """What each bar can show, and which channels go when it shows it.

    Those with the lowest scores go, unless a plan that was assigned removes others: then these, whenever the bar has
    the number of that plan. Exchanges by hand come after either, at every height of the bar where they make sense.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        Of all groups that are not protected.
    table : LatencyTable, optional

    Attributes
    ----------
    last : Plan
        The plan that was made, or remembered, last.

    Raises
    ------
    ValueError
        For scores that are missing, of wrong length or NaN.
    """

    def __init__(self, graph: ChannelGraph, scores: Scores, table: LatencyTable | None) -> None:
        for group in graph.values():
            if group.protected is None:
                checked_scores(group, scores)
        self._graph = graph
        self._scores, self._table = scores, table
        self._widths = {name: group.channels for name, group in graph.items()}
        self._others: dict[tuple[str, int], tuple[int, ...]] = {}  # by group and number kept
        self._exchanges: Exchanges = {}
        self._turned: set[str] = set()  # groups whose exchanges have changed since the last plan
        self.last = self.nothing

    @property
    def graph(self) -> ChannelGraph:
        """The network that they are of."""
        return self._graph

    @property
    def given(self) -> Scores:
        """The scores that they were given."""
        return self._scores

    @property
    def nothing(self) -> Plan:
        """The plan that removes nothing."""
        return Plan(self._widths, {})

    def whole(self, plan: Plan) -> Plan:
        """Return a plan with an entry for every group.

        Raises
        ------
        ValueError
            For a plan of another network, in the words of `ChannelGraph.check`.
        """
        if plan is self.last:  # the bars' own, after each of their moves
            return plan
        self._graph.check(plan)
        return Plan(self._widths, plan.removed)

    def kept(self, plan: Plan) -> list[int]:
        """Return how many channels each group keeps under a plan, in network order."""
        kept = plan.kept
        return [kept[name] for name in self._widths]

    def check(self, kept: Sequence[int]) -> None:
        """Raise a `ValueError` for numbers of channels that the groups cannot keep."""
        if len(kept) != len(self._graph):
            raise ValueError(f"kept must be {len(self._graph)} numbers, one for each group; got {len(kept)}")
        for group, count in zip(self._graph.values(), kept, strict=True):
            if count == group.channels:
                continue
            if group.protected is not None:
                raise ValueError(f"group {group.name!r} is protected ({group.protected}): it keeps {group.channels}")
            if not group.least <= count < group.channels or count % group.step:
                unit = f"a multiple of {group.step} " if group.step > 1 else ""
                raise ValueError(
                    f"group {group.name!r} can keep {unit}from {group.least} to {group.channels}; got {count}"
                )

    def plan(self, kept: Sequence[int]) -> Plan:
        """Return the plan that numbers of channels stand for, and take it for the last."""
        self.last = self.of(kept)
        self._turned.clear()
        return self.last

    def of(self, kept: Sequence[int]) -> Plan:
        """Return the plan that numbers of channels stand for."""
        removed, last = {}, self.last.removed
        for (name, width), count in zip(self._widths.items(), kept, strict=True):
            if width - len(last[name]) == count and name not in self._turned:
                removed[name] = last[name]
            else:
                removed[name] = self._removed(name, width - count)
        return Plan(self._widths, removed)

    def stands_for(self, entry: Entry) -> Plan:
        """Return the plan that an entry stands for, wherever the bars are."""
        removed = {}
        for (name, width), count in zip(self._widths.items(), entry.kept, strict=True):
            base = entry.own.get(name) or self._lowest(name, width - count)
            removed[name] = exchanged(self._graph[name], base, entry.exchanged.get(name, ()))
        return Plan(self._widths, removed)

    def entry(self, plan: Plan) -> Entry:
        """Return the last plan as the bars have it."""
        kept = self.kept(plan)
        own = {
            name: self._others[name, n] for name, n in zip(self._widths, kept, strict=True) if (name, n) in self._others
        }
        return Entry(tuple(kept), own, dict(self._exchanges))

    def read(self, content: object) -> Entry:
        """Return the entry that JSON stands for; see `Entry.payload`.

        Raises
        ------
        ValueError
            For what is not understood, for numbers that cannot be kept and channels that cannot go.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"a plan must be numbers of channels to keep, and channels that go; got {content!r}")
        kept, exchanges = content.get("kept"), content.get("exchanged", {})
        if not isinstance(kept, list) or any(type(count) is not int for count in kept):
            raise ValueError(f"kept must be whole numbers; got {kept!r}")
        if not isinstance(exchanges, Mapping):
            raise ValueError(f"exchanges must be by the groups' places; got {exchanges!r}")
        self.check(kept)
        return Entry(tuple(kept), read_own(self._graph, kept, content.get("own", {})), self.checked(exchanges))

    def teach(self, entry: Entry) -> bool:
        """Remember an entry's own channels at its numbers, and no others there; tell whether there were others."""
        changed = False
        for name, count in zip(self._widths, entry.kept, strict=True):
            mine, key = entry.own.get(name), (name, count)
            if self._others.get(key) != mine:
                changed, _ = True, self._others.pop(key, None)
                self._turned.add(name)
                self._others |= {} if mine is None else {key: mine}
        return changed

    def remember(self, plan: Plan) -> bool:
        """Let the bars stand for a `whole` plan's own channels from now on; tell whether they stood for others."""
        changed = False
        for name, removed in plan.removed.items():
            if removed == self._removed(name, len(removed)):
                continue
            changed |= self._exchanges.pop(name, None) is not None
            key = (name, self._widths[name] - len(removed))
            rest = self._lowest(name, len(removed))
            if removed == rest:
                changed |= self._others.pop(key, rest) != rest
            elif self._others.get(key) != removed:
                self._others[key] = removed
                changed = True
        self.last = plan
        return changed

    # Exchanges by hand ----------------------------------------------------------------------------------------------

    @property
    def exchanges(self) -> dict[str, list[list[int]]]:
        """For the browser: pairs of channels that were exchanged, which stays and which goes, by the group's place."""
        return self.placed(self._exchanges)

    def placed(self, exchanges: Exchanges) -> dict[str, list[list[int]]]:
        """Return exchanges by the group's place, as the browser has them."""
        places = {name: str(g) for g, name in enumerate(self._widths)}
        return {places[name]: [list(pair) for pair in pairs] for name, pairs in exchanges.items()}

    def checked(self, exchanges: Mapping[str, object]) -> Exchanges:
        """Return exchanges by the group's name; a `ValueError` says what the browser cannot have meant."""
        names = {str(g): name for g, name in enumerate(self._widths)}
        strange = [place for place in exchanges if place not in names]
        if strange:
            raise ValueError(f"exchanges must be by the groups' places, 0 to {len(names) - 1}; got {strange[0]!r}")
        return checked_exchanges(self._graph, {names[place]: pairs for place, pairs in exchanges.items()})

    def exchange(self, exchanges: Exchanges) -> bool:
        """Let these exchanges hold from now on, and no others; tell whether others held before."""
        before = self._exchanges
        turned = {name for name in {*before, *exchanges} if before.get(name) != exchanges.get(name)}
        self._turned |= turned
        self._exchanges = dict(exchanges)
        return bool(turned)

    @property
    def scores(self) -> Scores:
        """The scores, those of exchanged channels exchanged: whoever plans by them minds what was chosen by hand."""
        return exchanged_scores(self._scores, self._exchanges)

    def forget(self, name: str, kept: int) -> Exchanges:
        """Let the scores alone choose a group's channels at this number; return the exchanges without that group's."""
        if name not in self._graph:
            raise ValueError(unknown_group(self._graph, name))
        if self._others.pop((name, kept), None) is not None:
            self._turned.add(name)
        return {other: pairs for other, pairs in self._exchanges.items() if other != name}

    @property
    def chosen(self) -> dict[str, dict[str, list[int]]]:
        """For the browser: where a plan's own channels go and not all cost the same, what stays of each cell."""
        chosen: dict[str, dict[str, list[int]]] = {}
        places = {name: str(g) for g, name in enumerate(self._widths)}
        for (name, kept), removed in self._others.items():
            cells = cells_kept(self._graph, name, removed)
            if len(cells) > 1:
                chosen.setdefault(places[name], {})[str(kept)] = cells
        for name, pairs in self._exchanges.items():
            mine = self._graph.costs.cells[self._graph.channels_of(name)]
            if any(mine[stay] != mine[go] for stay, go in pairs):  # the costs are others, at heights not yet shown too
                group = self._graph[name]
                for kept in range(group.step, group.channels, group.step):
                    cells = cells_kept(self._graph, name, self._removed(name, group.channels - kept))
                    chosen.setdefault(places[name], {})[str(kept)] = cells
        return chosen

    def totals(self, plan: Plan) -> dict[str, float | None]:
        """Return what a plan costs: macs, params, bytes, and the latency in ms, None without a table."""
        cost = self._graph.cost(plan)
        ms = None if self._table is None else self._table.latency(self._graph, plan)
        return {"macs": cost.macs, "params": cost.params, "bytes": cost.bytes, "latency": ms}

    def share(self, plan: Plan, kind: str) -> float:
        """Return what a plan leaves of one of the totals, as a share of the unpruned network's."""
        before, after = self.totals(self.nothing)[kind], self.totals(plan)[kind]
        if before is None or after is None:
            raise ValueError(f"the {kind} is not known: give table=")
        return after / before

    def _removed(self, name: str, count: int) -> tuple[int, ...]:
        base = self._others.get((name, self._widths[name] - count)) or self._lowest(name, count)
        return exchanged(self._graph[name], base, self._exchanges.get(name, ()))

    def _lowest(self, name: str, count: int) -> tuple[int, ...]:
        return lowest(self._graph[name], self._scores, count) if count else ()

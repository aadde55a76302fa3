"""What the desk shows on request beside the plan: a group's filters, of which some can be exchanged by hand."""

from __future__ import annotations

import traitlets

from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.common.worker import Worker
from fpgmlab.widgets.desk.comparing import ComparingDesk
from fpgmlab.widgets.desk.exchanges import with_exchange
from fpgmlab.widgets.desk.filters import filters_payload
from fpgmlab.widgets.desk.payload import Json

MOST = 2048  # filters of a group that are shown
_AT_ONCE = 512  # up to so many take no longer than a tenth of a second
_CLOSING = 10  # seconds that `close` waits for filters that nobody will see


class LookingDesk(ComparingDesk):
    """A desk that shows the filters of a group: which go, which stay, and which are alike."""

    filters = traitlets.Dict().tag(sync=True)

    _asked_for: object = None  # the last request; who is slower than the next has looked in vain
    _looker: Worker | None = None

    def look_at_filters(self, group: int) -> None:
        """Show the filters of the group at a place; what cannot be shown is said there instead."""
        name = self._named(group)
        channels, wish = self._bars.graph[name].channels, object()
        self._asked_for = wish
        if channels > MOST:
            words = f"{channels:,} filters are too many to be held against each other here, {MOST:,} at most."
            self._show_filters(wish, {"group": group, "name": name, "message": words})
        elif channels <= _AT_ONCE:
            self._look(wish, group, name)
        else:
            self._show_filters(wish, {"group": group, "name": name, "message": f"Looking at {channels:,} filters ..."})
            self._looker = Worker("filters")  # meanwhile bars can be moved
            self._looker.begin(lambda: self._look(wish, group, name))

    def close(self) -> None:
        """End the work and take the desk off the screen."""
        self._asked_for = None
        if self._looker is not None:
            self._looker.wait(_CLOSING)
        super().close()

    def _look(self, wish: object, group: int, name: str) -> None:
        try:
            found = filters_payload(self._bars.graph, self._bars.given, name)
        except Exception as error:  # weights may be anything by now
            found = {"name": name, "message": in_words(error)}
        self._show_filters(wish, {"group": group} | found)

    def _show_filters(self, wish: object, found: Json) -> None:
        with self._lock:
            if self._asked_for is wish:
                self.filters = found

    def exchange(self, group: str, *, stay: int, go: int) -> Plan:
        """Let one channel stay that goes, and another of its group go in its place.

        It holds at every height of the group's bar at which the one goes and the other stays, and can be undone.

        Parameters
        ----------
        group : str
        stay : int
            A channel of the group that the plan removes.
        go : int
            One that it keeps; of a group whose channels go evenly from several blocks, one of the same block.

        Returns
        -------
        Plan
            What is on the desk then.

        Raises
        ------
        ValueError
            For an unknown or protected group, and for channels that cannot take each other's place, with the reason.
        """
        with self._lock:
            before = self._bars.checked(self.exchanged)
            after = with_exchange(self._bars.graph, before, self.plan, group, stay, go)
            self.exchanged = self._bars.placed(after)
            return self.plan

    def by_criterion(self, group: str) -> Plan:
        """Let the scores alone choose again which channels of a group go; return the plan on the desk then.

        Raises
        ------
        ValueError
            For an unknown group.
        """
        with self._lock:
            exchanges = self._bars.forget(group, self.plan.kept.get(group, 0))
            if self.exchanged == self._bars.placed(exchanges):
                self._move()  # it was a plan that was assigned that chose
            else:
                self.exchanged = self._bars.placed(exchanges)
            return self.plan

    def _named(self, place: int) -> str:
        names = list(self._bars.graph)
        if place >= len(names):
            raise ValueError(f"group must be the place of a group, 0 to {len(names) - 1}; got {place}")
        return names[place]

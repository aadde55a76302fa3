"""What was measured of each plan that was on the desk: coming back costs nothing."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from fpgmlab.common.trimming import trim_memory
from fpgmlab.errors import one_of
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity.pictures import Estimate, Tally
from fpgmlab.widgets.desk.payload import Json, plain

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("as cut", "repaired")
PLANS = 4000  # whose numbers are remembered
NOTHING: Json = {"kept": "", "networks": {}, "samples": {}, "timed": None}  # a payload before there is an entry
TALLIES = 8e6  # bytes of single pictures' values: with them two plans can be compared, and a measurement goes on


def plan_digest(plan: Plan) -> str:
    """Return what tells a plan from others of the same network."""
    state = hashlib.blake2b(digest_size=16)
    for removed in plan.removed.values():
        state.update(array("q", (len(removed), *removed)).tobytes())
    return state.hexdigest()


@dataclass(eq=False)
class Stage:
    """One network of a plan, as far as it is measured.

    Attributes
    ----------
    tally : Tally or None
        Its values of single pictures; None when they were forgotten.
    found : dict of str to Estimate
        By metric.
    complete : bool
        Whether all pictures were measured.
    failed : str
        Why it cannot be measured, in words.
    begun : bool
        Whether a first value is there that is good enough to go on with the other network.
    seconds : float
        That it has taken.
    """

    tally: Tally | None = field(default_factory=Tally)
    found: Mapping[str, Estimate] = field(default_factory=dict)
    complete: bool = False
    failed: str = ""
    begun: bool = False
    seconds: float = 0.0

    @property
    def over(self) -> bool:
        """Whether there is nothing left to measure."""
        return self.complete or bool(self.failed)

    @property
    def samples(self) -> int:
        """On how many pictures it was measured."""
        return max((each.samples for each in self.found.values()), default=0)


@dataclass(eq=False)
class Entry:
    """What is known of a plan.

    Attributes
    ----------
    key : str
        The numbers of channels kept, as the browser has them.
    macs : int
    latency : float or None
        By the table, in ms.
    stages : dict of str to Stage
    timed : dict or None
        How long the real network takes; see `timing`.
    untimed : bool
        Whether that was tried in vain.
    """

    key: str
    macs: int
    latency: float | None
    stages: dict[str, Stage] = field(default_factory=lambda: {name: Stage() for name in STAGES})
    timed: Json | None = None
    untimed: bool = False

    @property
    def measured(self) -> dict[str, Stage]:
        """The stages of which something is known."""
        return {name: stage for name, stage in self.stages.items() if stage.found}

    @property
    def point(self) -> Json:
        """Where it stands among others: what it costs, and the metrics' values."""
        values = {name: {metric: plain(each.value) for metric, each in stage.found.items()}
                  for name, stage in self.measured.items()}  # fmt: skip
        return {"kept": self.key, "macs": self.macs, "latency": self.latency} | values

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The same as what jobs find: by network, the metrics, how many samples, and intervals."""
        words = {"as cut": "pruned", "repaired": "repaired"}
        return {
            words[name]: {metric: each.value for metric, each in stage.found.items()}
            | {"samples": stage.samples}
            | {"intervals": {metric: [plain(each.low), plain(each.high)] for metric, each in stage.found.items()}}
            for name, stage in self.measured.items()
        }

    @property
    def payload(self) -> Json:
        """What a browser shows of it."""
        return {
            "kept": self.key,
            "networks": {name: estimates_json(stage.found) for name, stage in self.measured.items()},
            "samples": {name: stage.samples for name, stage in self.measured.items()},
            "timed": self.timed,
        }


class Memory:
    """Entries by the digest of their plan; the oldest are forgotten when there are too many."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def points(self, most: int) -> list[Json]:
        """Return what is measured of the entries that were asked for last, the newest at the end."""
        found = (entry.point for entry in reversed(self._entries.values()) if entry.measured)
        return list(islice(found, most))[::-1]

    def entries(self) -> list[tuple[str, Entry]]:
        """Return all by digest, those last that were asked for last."""
        return list(self._entries.items())

    def get(self, digest: str) -> Entry | None:
        """Return an entry, or None."""
        return self._entries.get(digest)

    def put(self, digest: str, entry: Entry) -> Entry:
        """Remember an entry as the newest; return the one that is there already, if so."""
        entry = self._entries.setdefault(digest, entry)
        self._entries.move_to_end(digest)
        while len(self._entries) > PLANS:
            self._entries.popitem(last=False)
        return entry

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def trim(self) -> None:
        """Forget the single pictures' values of plans that were not asked for lately."""
        room = TALLIES
        for entry in reversed(self._entries.values()):
            for stage in entry.stages.values():
                if stage.tally is None:
                    continue
                room -= stage.tally.nbytes
                if room < 0:
                    stage.tally = None if stage.complete else Tally()
        trim_memory()

    def dump(self) -> Json:
        """Return what is complete of it, as JSON: numbers, not the values of single pictures."""
        return {
            digest: {
                "key": entry.key, "macs": entry.macs, "latency": entry.latency, "timed": entry.timed,
                "stages": {name: estimates_json(stage.found) for name, stage in entry.stages.items() if stage.complete},
            }
            for digest, entry in self._entries.items() if any(stage.complete for stage in entry.stages.values())
        }  # fmt: skip

    def load(self, stored: Mapping[str, Any]) -> None:
        """Take in what `dump` gave.

        Raises
        ------
        ValueError
            For anything else, with what is wrong; nothing is taken in then.
        """
        found = {}
        try:
            for digest, each in stored.items():
                entry = Entry(str(each["key"]), int(each["macs"]), each["latency"], timed=each["timed"])
                for name, values in each["stages"].items():
                    if name not in STAGES:
                        raise ValueError(one_of("a network", name, STAGES))
                    entry.stages[name] = Stage(None, _estimates(values), complete=True)
                found[digest] = entry
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"these are no measurements of a desk: {type(error).__name__}: {error}") from error
        for digest, entry in found.items():
            self.put(digest, entry)


def measured_frame(entry: Entry | None) -> pd.DataFrame:
    """Return what was measured of a plan as a table; see `PlanEditor.measured`."""
    import pandas as pd

    rows = [
        (network, metric, found.value, found.low, found.high, found.samples)
        for network, stage in ({} if entry is None else entry.measured).items()
        for metric, found in stage.found.items()
    ]
    return pd.DataFrame(rows, columns=["network", "metric", "value", "low", "high", "samples"])


def estimates_json(found: Mapping[str, Estimate]) -> Json:
    """Return estimates as JSON."""
    return {
        name: {key: plain(getattr(each, key)) for key in ("value", "low", "high", "reference", "samples")}
        for name, each in found.items()
    }


def _estimates(stored: Mapping[str, Mapping[str, float | None]]) -> dict[str, Estimate]:
    missing = {"value": math.nan, "low": -math.inf, "high": math.inf, "reference": math.nan}
    found = {}
    for name, each in stored.items():
        known = {key: float(value) for key in missing if (value := each[key]) is not None}
        found[name] = Estimate(**missing | known, samples=int(each["samples"] or 0))
    return found

"""Which channels of a network the channels of what was cut from it are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Scores
from fpgmlab.surgery.cutting import kept_of


@dataclass(frozen=True, eq=False)
class Lineage:
    """A network, and the one that it was cut from.

    Attributes
    ----------
    origin : ChannelGraph
    gone : Plan
        Of the origin: all that was cut so far.
    present : ChannelGraph
        Of what is left.
    """

    origin: ChannelGraph
    gone: Plan
    present: ChannelGraph

    @cached_property
    def numbers(self) -> np.ndarray:
        """Each present channel's number in the origin, both over all groups, (present channels,).

        Read off the layers, which have the same names in both: what stays of a layer's channels is in the same order.

        Raises
        ------
        RuntimeError
            When the two were not traced alike.
        """
        keep = torch.from_numpy(self.origin.keep(self.gone))
        found = np.full(sum(group.channels for group in self.present.values()), -1)
        now = {layer.name: layer for layer in self.present.layers}
        for layer in self.origin.layers:
            if layer.kind == "number":
                continue  # of one head none is counted
            if layer.name not in now:
                raise RuntimeError(self._unlike(layer.name))
            same = now[layer.name]
            for before, after in ((layer.inputs, same.inputs), (layer.outputs, same.outputs)):
                left = before[kept_of(before, keep).numpy()]
                mine = after >= 0
                if len(left) != len(after) or _differ(found[after[mine]], left[mine]):
                    raise RuntimeError(self._unlike(layer.name))
                found[after[mine]] = left[mine]
        if (found < 0).any():
            raise RuntimeError(self._unlike(next(iter(self.present))))
        return found

    @property
    def in_part(self) -> tuple[str, ...]:
        """The present groups of which several channels are one of the origin's.

        Where one head is left, its own channels may go one by one.
        """
        ours = {name: self.numbers[self.present.channels_of(name)] for name in self.present}
        return tuple(name for name, numbers in ours.items() if len(np.unique(numbers)) < len(numbers))

    def carried(self, scores: Scores) -> dict[str, Tensor]:
        """Return the present channels' scores by the origin's groups; what is gone is below all of them."""
        ours = {name: self.present.channels_of(name) for name in scores}
        values = np.full(sum(group.channels for group in self.origin.values()), np.nan)
        values[self._mask(self.origin, self.gone)] = -np.inf
        for name, where in ours.items():
            values[self.numbers[where]] = scores[name].detach().to("cpu", torch.float64).numpy()
        by_group = {name: values[self.origin.channels_of(name)] for name in self.origin}
        return {name: torch.from_numpy(each) for name, each in by_group.items() if not np.isnan(each).all()}

    def all_gone(self, plan: Plan) -> Plan:
        """Return what is gone of the origin once a plan of the present network is carried out."""
        gone = self._mask(self.origin, self.gone)
        gone[self.numbers[self._mask(self.present, plan)]] = True
        return _plan(self.origin, gone)

    def to_go(self, plan: Plan) -> Plan:
        """Return what a plan of the origin leaves to cut from the present network."""
        return _plan(self.present, self._mask(self.origin, plan)[self.numbers])

    @staticmethod
    def _mask(graph: ChannelGraph, plan: Plan) -> np.ndarray:
        return ~graph.keep(plan)

    def _unlike(self, layer: str) -> str:
        return (
            f"the pruned {type(self.present.model).__name__} is traced otherwise than the whole one: at {layer!r} "
            "nobody can say which of its channels are left. Prune it in one step, with fpgmlab.prune."
        )


def _differ(known: np.ndarray, now: np.ndarray) -> bool:
    return bool(((known >= 0) & (known != now)).any())


def _plan(graph: ChannelGraph, gone: np.ndarray) -> Plan:
    removed = {name: tuple(np.flatnonzero(gone[graph.channels_of(name)]).tolist()) for name in graph}
    return Plan({name: group.channels for name, group in graph.items()}, removed)

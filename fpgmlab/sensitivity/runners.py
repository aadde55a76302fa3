"""Ways to get the outputs of a network without some of its channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

import torch

from fpgmlab.graph import ChannelGraph
from fpgmlab.modules import channels_last, device_of, eval_mode
from fpgmlab.sensitivity.points import Point
from fpgmlab.sensitivity.replay import Replay, replaying
from fpgmlab.surgery import simulate


class Runner(Protocol):
    """The unpruned network's outputs for a batch, then those without each point's channels."""

    def record(self, inputs: object) -> object:
        """Return the unpruned network's outputs, and remember what each point will need."""

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""

    @property
    def nbytes(self) -> int:
        """Bytes that are remembered."""


class Replaying:
    """Runs the modules after the first changed one; see `fpgmlab.sensitivity.replaying`."""

    def __init__(self, graph: ChannelGraph, replay: Replay) -> None:
        self._graph, self._replay = graph, replay
        self.record = replay.record

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""
        with simulate(self._graph, point.plan):
            return self._replay.run(point.changed)

    @property
    def nbytes(self) -> int:
        """Bytes that are remembered."""
        return self._replay.nbytes


@contextmanager
def running(graph: ChannelGraph, dtype: str) -> Iterator[Runner]:
    """Give the quickest runner that a network allows; the model is as before on exit."""
    device = device_of(graph.model)
    cast = torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()
    with eval_mode(graph.model), channels_last(graph.model), replaying(graph.model) as replay, cast:
        yield Replaying(graph, replay)

"""The honest way to get the outputs of a network without some of its channels: prune it and run what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import channels_last, device_of, eval_mode
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.recovery.recalibration import estimate, statistics, training_inputs
from fpgmlab.sensitivity.replay.consumers import holding
from fpgmlab.sensitivity.replay.points import Point
from fpgmlab.sensitivity.replay.refits import Refits
from fpgmlab.surgery.pruning import prune
from fpgmlab.tasks.task import Task


class Pruned:
    """Prunes the network for each point of each batch, and runs what is left; no pruned network is kept.

    Parameters
    ----------
    graph : ChannelGraph
        Its model must be in eval mode.
    dtype : {"float32", "bfloat16"}
        Of the outputs' computation; statistics are always estimated in the model's own type.
    batches : sequence of Tensor
        Training inputs to recalibrate each pruned network on; none to leave it as it is.
    refits : Refits, optional
        For points after repair; to be read before anything is recorded.
    """

    def __init__(
        self, graph: ChannelGraph, dtype: str, batches: Sequence[object], refits: Refits | None = None
    ) -> None:
        self._graph, self._dtype, self._batches, self._refits = graph, dtype, batches, refits
        self._statistics: dict[tuple[str, int], dict[str, Tensor]] = {}
        self._inputs: object = None
        self._last = bears_channels_last(graph.model, graph.example_input)

    def record(self, inputs: object) -> object:
        """Return the unpruned network's outputs, and remember what each point will need."""
        self._inputs = inputs
        with left_as_it_is(self._graph.model):
            return self._outputs(self._graph.model)

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""
        with holding(self._graph.model, self._refits.tensors(point) if self._refits is not None else {}):
            pruned = prune(self._graph, point.plan)
        if self._batches:
            self._recalibrate(pruned, (point.group, point.kept))
        with channels_last(pruned, self._last):
            return self._outputs(pruned)

    def _recalibrate(self, pruned: nn.Module, point: tuple[str, int]) -> None:
        """Give a pruned network the statistics that its point was given the first time."""
        if point not in self._statistics:
            estimate(pruned, self._batches)
            self._statistics[point] = statistics(pruned)
        for name, buffer in statistics(pruned).items():
            buffer.copy_(self._statistics[point][name])

    def _outputs(self, model: nn.Module) -> object:
        # Autocast keeps the weights that it has cast until it ends: here, not with the sweep.
        with torch.autocast(device_of(model).type, torch.bfloat16, enabled=self._dtype == "bfloat16"):
            return call(model, tree_map_only(Tensor, Tensor.clone, self._inputs))


@contextmanager
def running_pruned(
    graph: ChannelGraph, dtype: str, task: Task, recalibrate: int, refits: Refits | None = None
) -> Iterator[Pruned]:
    """Give a runner that really prunes; the model is as before on exit.

    Parameters
    ----------
    graph : ChannelGraph
    dtype : {"float32", "bfloat16"}
    task : task
        Its training data is used when ``recalibrate`` is not 0.
    recalibrate : int
        Batches of training data, see `fpgmlab.recalibrate`.
    refits : Refits, optional
        For points after repair; recalibrated after that.
    """
    batches = training_inputs(task, recalibrate) if recalibrate else []
    with eval_mode(graph.model), channels_last(graph.model, bears_channels_last(graph.model, graph.example_input)):
        yield Pruned(graph, dtype, batches, refits)

"""Ways to get the outputs of a network without some of its channels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import channels_last, device_of, eval_mode, tensor_at, tensors_in
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.sensitivity.replay.consumers import bias_beside, holding, state_of
from fpgmlab.sensitivity.replay.points import Point, changed_by
from fpgmlab.sensitivity.replay.program import Program
from fpgmlab.sensitivity.replay.recording import NotRecordableError, record
from fpgmlab.sensitivity.replay.refits import Refits
from fpgmlab.sensitivity.replay.replay import Replay, replaying
from fpgmlab.surgery.cutting import masked
from fpgmlab.surgery.simulation import cut_off, simulate


class Runner(Protocol):
    """The unpruned network's outputs for a batch, then those without each point's channels."""

    def record(self, inputs: object) -> object:
        """Return the unpruned network's outputs, and remember what each point will need."""

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""


class Replaying:
    """Runs the modules after the first changed one; see `fpgmlab.sensitivity.replaying`."""

    def __init__(self, graph: ChannelGraph, replay: Replay, refits: Refits | None = None) -> None:
        self._graph, self._replay, self._refits = graph, replay, refits
        self.record = replay.record

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""
        refitted = self._refits.tensors(point) if self._refits is not None else {}
        with simulate(self._graph, point.plan) as model, holding(model, refitted):
            return self._replay.run(point.changed)


class Programmed:
    """Runs the operations that a change reaches; see `fpgmlab.sensitivity.replay.program`.

    The model itself is not run any more once it is recorded, so that others may use it meanwhile.

    Raises
    ------
    NotRecordableError
        From `record`, when a recording cannot stand in for the model.
    """

    def __init__(self, graph: ChannelGraph, dtype: torch.dtype, refits: Refits | None = None) -> None:
        self._graph, self._dtype, self._refits = graph, dtype, refits
        self._modules, self._state = dict(graph.model.named_modules()), state_of(graph.model)
        self._own = {layer.name: layer.reading for layer in graph.layers if layer.reading}
        self._watched = [self._weights(changed_by(graph, name)) for name, g in graph.items() if g.protected is None]
        self._programs: dict[tuple, Program] = {}
        self._current: Program | None = None

    def record(self, inputs: object) -> object:
        """Return the unpruned network's outputs, and remember what each point will need."""
        if self._current is not None:
            self._current.forget()
        key = tuple(tuple(tensor.shape) for tensor in tensors_in(inputs))
        if key in self._programs:
            self._current = self._programs[key]
            return self._current.record(inputs)
        if self._graph.reductions:
            raise NotRecordableError("what runs over channels sees only those that stay")
        self._current = Program(record(self._graph.model, inputs), self._dtype, self._watched)
        outputs = self._current.record(inputs)
        self._compare(outputs, inputs)
        self._programs[key] = self._current
        return outputs

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""
        if (current := self._current) is None:
            raise RuntimeError("nothing is recorded: `record` comes before `run`")
        masks: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        convolutions: dict[str, tuple[Tensor, Tensor | None]] = {}
        refits = {refit.consumer.weight: refit for refit in self._refits.of(point)} if self._refits is not None else {}
        for name, layer, keep_in in cut_off(self._graph, point.plan):
            refit, fused = refits.get(name), current.has_convolution(name)
            weight = tensor_at(self._modules, name).detach()
            if refit is not None and fused:
                convolutions[name] = refit.weight(weight), refit.offset
            elif refit is not None:
                weights |= refit.tensors(self._state)
            elif fused:
                masks[name] = keep_in
            else:
                weights[name] = masked(name, weight, layer, keep_in)
        return current.run(self._weights(point.changed), masks, weights, convolutions)

    def _weights(self, modules: Iterable[str]) -> tuple[str, ...]:
        others = ((name, (f"{name}.weight" if name else "weight",)) for name in modules)
        weights = [weight for name, usual in others for weight in self._own.get(name, usual)]
        return tuple(tensor for weight in weights for tensor in (weight, bias_beside(weight)))

    def _compare(self, outputs: object, inputs: object) -> None:
        with eval_mode(self._graph.model), left_as_it_is(self._graph.model):
            expected = call(self._graph.model, tree_map_only(Tensor, Tensor.clone, inputs))
        allowed = 1e-4 if self._dtype == torch.float32 else 0.1
        for ours, its in zip(tensors_in(outputs), tensors_in(expected), strict=True):
            apart = (ours.double() - its.double()).abs().max() if ours.numel() else torch.zeros(())
            if not apart <= allowed * its.double().abs().max():  # also when it is not a number
                raise NotRecordableError(f"the recording gives other outputs than {type(self._graph.model).__name__}")


class Quickest:
    """Runs a recording of the model where one can be made, else its modules."""

    def __init__(self, graph: ChannelGraph, dtype: str, opened: ExitStack, refits: Refits | None) -> None:
        self._graph, self._dtype, self._opened, self._refits = graph, dtype, opened, refits
        self._runner: Runner = Programmed(graph, getattr(torch, dtype), refits)

    def record(self, inputs: object) -> object:
        """Return the unpruned network's outputs, and remember what each point will need."""
        try:
            return self._runner.record(inputs)
        except NotRecordableError as error:
            logging.getLogger(__name__).info("replaying modules instead of a recording: %s", error)
        self._runner = self._opened.enter_context(_replaying(self._graph, self._dtype, self._refits))
        return self._runner.record(inputs)

    def run(self, point: Point) -> object:
        """Return the outputs for the recorded inputs without the point's channels."""
        return self._runner.run(point)


@contextmanager
def running(graph: ChannelGraph, dtype: str, refits: Refits | None = None) -> Iterator[Runner]:
    """Give the quickest runner that a network allows; the model is as before on exit.

    Parameters
    ----------
    graph : ChannelGraph
    dtype : {"float32", "bfloat16"}
        Of the computation.
    refits : Refits, optional
        For points after repair; to be read before anything is recorded.
    """
    with ExitStack() as opened:
        yield Quickest(graph, dtype, opened, refits)


@contextmanager
def _replaying(graph: ChannelGraph, dtype: str, refits: Refits | None) -> Iterator[Runner]:
    device = device_of(graph.model)
    cast = torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()
    last = bears_channels_last(graph.model, graph.example_input)
    with eval_mode(graph.model), channels_last(graph.model, last), replaying(graph.model) as replay, cast:
        yield Replaying(graph, replay, refits)

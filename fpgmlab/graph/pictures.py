"""How many pictures give enough equations for least squares, and how many go through a network at once."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import examples_in
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.following import Following
from fpgmlab.graph.layer import REFITTED
from fpgmlab.graph.projections import names_of

MOST = 512  # pictures, and the equations that each layer shall have
EACH = 4  # equations for an unknown: more mend no more, and a detector's take minutes and gigabytes
PASS = 4e8  # bytes of activations that are there at once while a batch runs


@dataclass(frozen=True)
class Pass:
    """What a pass through a network takes.

    Attributes
    ----------
    bytes : float
        Of all that is made of a picture and there at the same time, at most.
    layers : mapping of str to (float, int)
        Of each layer how often its kernel is applied to a picture, and how many numbers it reads each time.
    """

    bytes: float
    layers: Mapping[str, tuple[float, int]]


class _Weighing(Following):
    """Adds up what is there at the same time, and what the layers read."""

    def __init__(self, model: nn.Module, layers: Sequence[str], inputs: object) -> None:
        super().__init__(model, layers, inputs)
        self.bytes = 0
        self.layers: dict[str, tuple[float, int]] = {}
        self._pictures = examples_in(inputs)
        self._alive: dict[int, weakref.ref[Tensor]] = {}
        self._own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def enter(self, layer: str, call: LayerCall) -> None:
        """Before a layer is called."""
        before, _ = self.layers.get(layer, (0.0, 0))
        self.layers[layer] = (before + call.places / self._pictures, call.features)

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""
        if tensor.layout != torch.strided:
            return
        self._alive[id(tensor)] = weakref.ref(tensor)
        there = {key: found for key, ref in self._alive.items() if (found := ref()) is not None}
        self._alive = {key: self._alive[key] for key in there}
        storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in there.values()}
        self.bytes = max(self.bytes, sum(size for at, size in storages.items() if at not in self._own))


@torch.no_grad()
def weighed(model: nn.Module, layers: Sequence[str], inputs: object) -> Pass:
    """Run a model once, in eval mode, and tell what that takes; it is left as it is."""
    weighing = _Weighing(model, layers, inputs)
    with eval_mode(model), left_as_it_is(model), weighing:
        call_model(model, inputs)
    return Pass(weighing.bytes / examples_in(inputs), weighing.layers)


def enough_pictures(graph: ChannelGraph, positions: int | None = None) -> int:
    """Return so many pictures that each layer has 512 equations, and four for an unknown; 512 are always enough.

    A layer has an equation for each place that its kernel is applied to: a linear layer behind a pooling one for a
    picture, and the deepest of a detector, which stops at a map, hundreds.

    Parameters
    ----------
    graph : ChannelGraph
        Its example input tells how large pictures are.
    positions : int, optional
        Places of each picture that are looked at; all when left out.
    """
    names = [name for layer in graph.layers if layer.kind in REFITTED for name in names_of(layer)]
    wanted = 1
    for places, features in weighed(graph.model, names, graph.example_input).layers.values():
        places = places if positions is None else min(places, positions)
        wanted = max(wanted, math.ceil(max(MOST, EACH * (features + 1)) / places))
    return min(wanted, MOST)


def at_once(found: Pass, example: object, batch: object) -> int:
    """Return how many pictures of a batch go through the network at once, by what a pass of an example took."""
    each = found.bytes / _numbers(example) * _numbers(batch)  # larger pictures, larger activations
    return max(1, int(PASS / each)) if each else examples_in(batch)


def _numbers(batch: object) -> float:
    """Return how many numbers a picture of a batch has."""
    return max(1, sum(tensor.numel() for tensor in tensors_in(batch))) / examples_in(batch)

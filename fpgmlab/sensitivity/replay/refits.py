"""Points after repair: the consumers of a pruned group, refitted to give what they gave from what they still read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_of
from fpgmlab.geometry.least_squares import Moments
from fpgmlab.geometry.nested import nested_fits
from fpgmlab.graph.calls import from_matrix, to_matrix
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import Layer
from fpgmlab.graph.moments import read_moments
from fpgmlab.sensitivity.replay.norms import norms_after
from fpgmlab.sensitivity.replay.points import Point
from fpgmlab.surgery.cutting import holders_of
from fpgmlab.surgery.simulation import cut_off

Place = tuple[str, int]  # a group, and how many of its channels stay
Chain = dict[Place, Tensor]  # points of one group, ever fewer channels: which of a layer's inputs stay, (inputs,) bool


@dataclass(frozen=True, eq=False)
class Consumer:
    """A layer that can be refitted.

    Attributes
    ----------
    layer : Layer
    weight : str
        Dotted name.
    offset : str or None
        Dotted name of what takes what is added to the output: its bias, or the mean of the batch norm that alone reads
        it; None where nothing can.
    sign : float
        By which the offset enters there: a mean is subtracted.
    """

    layer: Layer
    weight: str
    offset: str | None
    sign: float


@dataclass(frozen=True, eq=False)
class Refit:
    """A consumer's new weight, kept as the part of it that is not zero.

    Attributes
    ----------
    consumer : Consumer
    stay : Tensor, (groups, features) int64
        Which rows of the matrix stay, in the order of `matrix`; see `fpgmlab.graph.calls.to_matrix`.
    matrix : Tensor, (groups, features, outputs)
    offset : Tensor or None, (outputs of all groups,)
        What is added to the output.
    """

    consumer: Consumer
    stay: Tensor
    matrix: Tensor
    offset: Tensor | None

    def weight(self, like: Tensor) -> Tensor:
        """Return the weight, zero for what was removed, shaped and typed like the one that is there."""
        layer = self.consumer.layer
        rows = like.numel() // (self.matrix.shape[0] * self.matrix.shape[2])
        whole = self.matrix.new_zeros(len(self.matrix), rows, self.matrix.shape[2])
        whole.scatter_(1, self.stay.unsqueeze(2).expand_as(self.matrix), self.matrix)
        return from_matrix(whole, like, layer.kind == "conv_transpose")

    def tensors(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parameters and buffers that it changes, by dotted name; ``state`` has those of before."""
        found = {self.consumer.weight: self.weight(state[self.consumer.weight])}
        if self.offset is not None and self.consumer.offset is not None:
            before = state[self.consumer.offset]
            found[self.consumer.offset] = before + self.consumer.sign * self.offset.to(before.dtype)
        return found


class Refits:
    """The refits of all points of a sweep.

    What a consumer reads is taken from the whole network, in one pass over some pictures: what the removal changes on
    the way to it, in layers that mix channels without weights, is left out.

    Parameters
    ----------
    graph : ChannelGraph
    points : sequence of Point
    pictures : sequence
        Batches of inputs, see `fpgmlab.common.inputs.inputs_of`.
    """

    def __init__(self, graph: ChannelGraph, points: Sequence[Point], pictures: Sequence[object]) -> None:
        self._graph, self._points, self._pictures = graph, points, pictures
        self._found: dict[Place, list[Refit]] | None = None

    def of(self, point: Point) -> list[Refit]:
        """Return the refits of a point; `read` must have come before."""
        if self._found is None:
            raise RuntimeError("nothing was read: `read` comes before `of`")
        return self._found[point.group, point.kept]

    def tensors(self, point: Point) -> dict[str, Tensor]:
        """Return what a point changes in the network, by dotted name."""
        state = state_of(self._graph.model)
        return {name: t for refit in self.of(point) for name, t in refit.tensors(state).items()}

    @torch.no_grad()
    def read(self, stop: Callable[[], bool] | None = None) -> bool:
        """Run the pictures through the network and solve for all points, once; false when it was stopped."""
        if self._found is not None:
            return True
        found: dict[Place, list[Refit]] = {(point.group, point.kept): [] for point in self._points}
        waiting = self._waiting()
        if stop is not None and stop():
            return False
        layers = list(waiting)
        moments = read_moments(self._graph, self._pictures, layers) if layers else {}
        after = norms_after(self._graph.model, layers, self._pictures[0]) if layers else {}
        for name, (layer, chains) in waiting.items():
            mine = moments.pop(name, None)  # of no use any more, and large
            if mine is None:  # it never ran
                continue
            consumer = _consumer(self._graph.model, layer, after.get(name))
            for chain in chains:
                if stop is not None and stop():
                    return False
                weight = tensor_of(self._graph.model.get_submodule(name), "weight").detach()
                for (group, kept), refit in zip(
                    chain, _refits(consumer, weight, mine, list(chain.values())), strict=True
                ):
                    found[group, kept].append(refit)
        self._found = found
        return True

    def _waiting(self) -> dict[str, tuple[Layer, list[Chain]]]:
        """Return each consumer with its points."""
        waiting: dict[str, tuple[Layer, list[Chain]]] = {}
        weights: dict[int, str] = {}
        for point in sorted(self._points, key=lambda point: (point.group, -point.kept)):
            for _, layer, stay in cut_off(self._graph, point.plan):
                module = self._graph.model.get_submodule(layer.name)
                if weights.setdefault(id(module.weight), layer.name) != layer.name:
                    continue  # the same weight as that of a layer before
                chains = waiting.setdefault(layer.name, (layer, []))[1]
                last = list(chains[-1].items())[-1] if chains else None
                if last is None or last[0][0] != point.group or bool((stay & ~last[1]).any()):
                    chains.append({})
                chains[-1][point.group, point.kept] = stay
        return waiting


def _refits(consumer: Consumer, weight: Tensor, moments: Moments, chain: Sequence[Tensor]) -> Iterator[Refit]:
    """Yield the refits of one consumer for ever fewer inputs that stay, (inputs,) bool each."""
    groups, transposed = consumer.layer.groups, consumer.layer.kind == "conv_transpose"
    start = to_matrix(weight, groups, transposed).double()
    inputs = len(chain[0]) // groups
    taps = start.shape[1] // inputs
    # When an input goes: those that stay the longest in front.
    ages = torch.stack([stay.reshape(groups, inputs) for stay in chain]).sum(0)  # (groups, inputs)
    order = ages.repeat(1, taps).argsort(dim=1, descending=True, stable=True).to(weight.device)  # (groups, features)
    mean = moments.a / moments.count
    gram = moments.aa
    if consumer.offset is not None:
        gram = gram - moments.count * mean.unsqueeze(2) * mean.unsqueeze(1)
    gram = gram.gather(1, order.unsqueeze(2).expand_as(gram)).gather(2, order.unsqueeze(1).expand_as(gram))
    start, mean = start.gather(1, order.unsqueeze(2).expand_as(start)), mean.gather(1, order)
    counts = [taps * int(stay.reshape(groups, inputs)[0].sum()) for stay in chain]
    for count, matrix in zip(counts, nested_fits(gram, start, counts), strict=True):
        offset = None
        if consumer.offset is not None:
            lost = torch.einsum("gf,gfo->go", mean, start) - torch.einsum("gf,gfo->go", mean[:, :count], matrix)
            offset = lost.flatten().to(weight.dtype)
        yield Refit(consumer, order[:, :count].clone(), matrix.to(weight.dtype), offset)


def _consumer(model: nn.Module, layer: Layer, norm: str | None) -> Consumer:
    """Return a layer with what can take an offset of its output."""
    holders = holders_of(model)
    weight = f"{layer.name}.weight" if layer.name else "weight"
    bias = f"{layer.name}.bias" if layer.name else "bias"
    if len(holders[weight]) > 1:  # what one place needs, another would get as well
        return Consumer(layer, weight, None, 0.0)
    if len(holders.get(bias, ())) == 1:
        return Consumer(layer, weight, bias, 1.0)
    mean = f"{norm}.running_mean"
    if norm is not None and len(holders.get(mean, ())) == 1:
        return Consumer(layer, weight, mean, -1.0)
    return Consumer(layer, weight, None, 0.0)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and buffers by dotted name, without gradients; a shared one by its first name."""
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


@contextmanager
def holding(model: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a model hold other tensors in the places of parameters and buffers, by dotted name, for the time being."""
    holders = holders_of(model)
    swapped: list[tuple[dict, str, Tensor | None]] = []
    try:
        for name, tensor in tensors.items():
            new: Tensor | None = None  # one for all that share it
            for module, key in holders[name]:
                place: dict = module._parameters if key in module._parameters else module._buffers
                old = place[key]
                if new is None:
                    new = nn.Parameter(tensor, old.requires_grad) if isinstance(old, nn.Parameter) else tensor
                swapped.append((place, key, old))
                place[key] = new
        yield
    finally:
        for place, key, old in reversed(swapped):
            place[key] = old

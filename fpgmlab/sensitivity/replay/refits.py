"""Points after repair: the consumers of a pruned group, refitted to give what they gave from what they still read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import device_of, eval_mode, split_name, tensor_of
from fpgmlab.geometry.moments import Moments
from fpgmlab.geometry.nested import nested_fits
from fpgmlab.graph.calls import to_matrix
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import REFITTED, Layer
from fpgmlab.graph.moments import read_moments
from fpgmlab.graph.projections import names_of, own_tensors
from fpgmlab.recovery.repairing import After, Looking
from fpgmlab.sensitivity.replay.consumers import Consumer, Refit, consumer_of, joined, state_of
from fpgmlab.sensitivity.replay.points import Point
from fpgmlab.surgery.simulation import cut_off

MEMORY = 2e9  # bytes of second moments at a time; what is beyond takes another pass over the pictures
WIDE = 4096  # more inputs of a linear layer behind a flattening are taken position by position

Place = tuple[str, int]  # a group, and how many of its channels stay
Chain = dict[Place, Tensor]  # points of one group, ever fewer channels: which of a layer's inputs stay, (inputs,) bool


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
        waiting, modules = self._waiting(), dict(self._graph.model.named_modules())
        if stop is not None and stop():
            return False
        after = self._after(_names(layer for layer, _ in waiting.values()))
        parts = {name: part for name, (layer, _) in waiting.items() if (part := positions_of(layer)) is not None}
        for some in self._held_together(waiting, parts):
            if stop is not None and stop():
                return False
            moments = read_moments(self._graph, self._pictures, _names(waiting[name][0] for name in some), parts=parts)
            for layer, chains in (waiting[name] for name in some):
                names = [name for name in names_of(layer) if name in moments]  # those that ran
                consumer = consumer_of(self._graph.model, layer, after.get(layer.name, After()).norm)
                own = [(own_tensors(modules, name)["weight"].detach(), moments.pop(name)) for name in names]
                for chain in chains if own else ():
                    if stop is not None and stop():
                        return False
                    stays, positions = list(chain.values()), parts.get(layer.name)
                    refits = [_refits(consumer, *each, stays, positions) for each in own]
                    for place, *together in zip(chain, *refits, strict=True):
                        found[place].append(joined(together))
        self._found = found
        return True

    def _after(self, layers: Sequence[str]) -> Mapping[str, After]:
        """Return what follows the layers, in one forward pass."""
        model = self._graph.model
        with eval_mode(model), left_as_it_is(model), Looking(model, layers) as looking:
            call_model(model, on_device(self._pictures[0], device_of(model)))
        return looking.found()

    def _held_together(
        self, waiting: Mapping[str, tuple[Layer, list[Chain]]], parts: Mapping[str, Tensor]
    ) -> Iterator[list[str]]:
        """Yield the layers in parts whose moments can be held at a time."""
        some: list[str] = []
        held = 0
        for name, (layer, _) in waiting.items():
            features = self._weight(layer).numel() // len(layer.outputs)
            systems = layer.groups * len(names_of(layer))
            size = 8 * (parts[name].shape[1] * features if name in parts else systems * features**2)
            if some and held + size > MEMORY:
                yield some
                some, held = [], 0
            some.append(name)
            held += size
        if some:
            yield some

    def _weight(self, layer: Layer) -> Tensor:
        return tensor_of(self._graph.model.get_submodule(layer.name), split_name(layer.weight)[1])

    def _waiting(self) -> dict[str, tuple[Layer, list[Chain]]]:
        """Return each consumer with its points."""
        waiting: dict[str, tuple[Layer, list[Chain]]] = {}
        weights: dict[int, str] = {}
        for point in sorted(self._points, key=lambda point: (point.group, -point.kept)):
            for _, layer, stay in cut_off(self._graph, point.plan):
                if layer.kind not in REFITTED:
                    continue
                if weights.setdefault(id(self._weight(layer)), layer.name) != layer.name:
                    continue  # the same weight as that of a layer before
                chains = waiting.setdefault(layer.name, (layer, []))[1]
                last = list(chains[-1].items())[-1] if chains else None
                if last is None or last[0][0] != point.group or bool((stay & ~last[1]).any()):
                    chains.append({})
                chains[-1][point.group, point.kept] = stay
        return waiting


def _names(layers: Iterable[Layer]) -> list[str]:
    return [name for layer in layers for name in names_of(layer)]


def positions_of(layer: Layer) -> Tensor | None:
    """Return the features of each position, (positions, channels), of a linear layer behind a flattening.

    They are solved position by position, where all of them were too many; None of other layers.
    """
    inputs = torch.from_numpy(layer.inputs)
    _, channel, counts = torch.unique(inputs, return_inverse=True, return_counts=True)
    times = int(counts[0])
    if layer.kind != "linear" or len(inputs) <= WIDE or times == 1 or bool((counts != times).any()):
        return None
    return torch.argsort(channel, stable=True).reshape(-1, times).T


def _refits(
    consumer: Consumer, weight: Tensor, moments: Moments, chain: Sequence[Tensor], parts: Tensor | None
) -> Iterator[Refit]:
    """Yield the refits of one consumer for ever fewer inputs that stay, (inputs,) bool each."""
    groups, transposed = consumer.layer.groups, consumer.layer.transposed
    start = to_matrix(weight, groups, transposed).double()
    ages = torch.stack([stay.reshape(groups, -1) for stay in chain]).sum(0)  # (groups, inputs): when each goes
    taps = start.shape[1] // ages.shape[1]
    counts = [taps * int(stay.reshape(groups, -1)[0].sum()) for stay in chain]
    ages = ages.repeat(1, taps)  # (groups, features)
    if parts is not None:  # systems are positions
        start, ages = start[0][parts.to(start.device)], ages[0][parts]
        counts = [count // len(parts) for count in counts]
    order = ages.argsort(dim=1, descending=True, stable=True).to(weight.device)  # those that stay the longest in front
    mean, gram = moments.a / moments.count, moments.aa
    if consumer.offset is not None:
        gram = gram - moments.count * mean.unsqueeze(2) * mean.unsqueeze(1)
    gram = gram.gather(1, order.unsqueeze(2).expand_as(gram)).gather(2, order.unsqueeze(1).expand_as(gram))
    start, mean = start.gather(1, order.unsqueeze(2).expand_as(start)), mean.gather(1, order)
    where = order if parts is None else parts.to(order.device).gather(1, order)
    for count, matrix in zip(counts, nested_fits(gram, start, counts), strict=True):
        stay, offset = where[:, :count].clone(), None
        if consumer.offset is not None:
            lost = torch.einsum("gf,gfo->go", mean, start) - torch.einsum("gf,gfo->go", mean[:, :count], matrix)
            offset = (lost.flatten() if parts is None else lost.sum(0)).to(weight.dtype)
        if parts is not None:
            stay, matrix = stay.reshape(1, -1), matrix.flatten(0, 1).unsqueeze(0)
        yield Refit(consumer, stay, matrix.to(weight.dtype), offset)

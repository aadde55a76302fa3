"""Scores by what the other channels cannot take over, from second moments of what the layers read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from fpgmlab.common.inputs import inputs_of
from fpgmlab.common.modules import tensor_of
from fpgmlab.criteria.rules import GraphCriterion, check_numbers
from fpgmlab.geometry.elimination import Reader, eliminate
from fpgmlab.geometry.least_squares import USUAL, Moments
from fpgmlab.graph.calls import to_matrix
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import PRODUCERS, Layer
from fpgmlab.graph.moments import read_moments

MEMORY = 2**30  # bytes of second moments that are held at a time, if one group's are not more


@dataclass(frozen=True, eq=False)
class Reconstruction(GraphCriterion):
    """What is lost of the layers that read a channel when the other channels take over as well as they can.

    FPGM's argument, with numbers: a filter may go when others can stand in for it. Here they do: from what the network
    computes on some pictures without labels, the channels of a group go one after the other, each time the one whose
    absence changes the outputs of all layers that read the group least, the weights of what stays refitted by least
    squares. A score is the error by the time when a channel goes: squared, as a share of the outputs' variance, added
    up over the layers. It is what `fpgmlab.repair` can make up for that does not count.

    Parameters
    ----------
    task : task, data set, data loader, list of batches
        Where pictures come from, as for `fpgmlab.repair`; of a task the training data.
    samples : int
        Pictures.
    seed : int
        Of their choice, and of the positions in them.
    ridge : float
        > 0: how firmly weights hold to what they are, relative to the mean square of what they read.

    Raises
    ------
    ValueError
        When scored: without pictures; for NaN or infinite values, with the layer that met them; for a group whose
        layers did not run.
    """

    task: object = field(repr=False)
    samples: int = 512
    seed: int = 0
    ridge: float = USUAL

    def __post_init__(self) -> None:
        if not self.samples >= 1:
            raise ValueError(f"samples must be at least 1; got {self.samples}")
        if not 0 < self.ridge < float("inf"):
            raise ValueError(f"ridge must be a number above 0, such as {USUAL}; got {self.ridge}")

    def of_graph(self, graph: ChannelGraph, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the scores (channels,) of these groups; those that no layer with weights reads are left out."""
        readers = {name: found for name in names if (found := _readers(graph, name))}
        modules = dict(graph.model.named_modules())
        for layer in chain.from_iterable(readers.values()):
            check_numbers(layer.name, tensor_of(modules[layer.name], "weight"))
        batches = inputs_of(self.task, self.samples, self.seed) if readers else []
        scores: dict[str, Tensor] = {}
        for some in _parts(graph, readers):
            layers = list(dict.fromkeys(layer.name for name in some for layer in readers[name]))
            moments = read_moments(graph, batches, layers, seed=self.seed)
            for name in some:
                ran = [layer for layer in readers[name] if layer.name in moments]
                if not ran:
                    raise ValueError(
                        f"criterion {self.label!r} cannot score group {name!r}: on these pictures none of the layers "
                        f"that read it ran ({', '.join(repr(layer.name) for layer in readers[name])})"
                    )
                scores[name] = self._eliminated(graph, name, [(layer, moments[layer.name]) for layer in ran])
        return scores

    @property
    def no_scores(self) -> str:
        """Nobody would miss its channels, as far as is known here."""
        return "no convolution or linear layer reads it"

    def scores(self, filters: Tensor) -> Tensor:
        """Raise a `ValueError`: of weights alone nothing follows."""
        raise ValueError("it needs a graph, not weights alone: what can be taken over depends on what the layers read")

    def _eliminated(self, graph: ChannelGraph, name: str, read: Sequence[tuple[Layer, Moments]]) -> Tensor:
        where, modules = graph.channels_of(name), dict(graph.model.named_modules())
        systems = []
        for layer, moments in read:
            weight = to_matrix(
                tensor_of(modules[layer.name], "weight").detach(), layer.groups, layer.kind == "conv_transpose"
            )
            inputs = torch.from_numpy(layer.inputs).reshape(layer.groups, -1)
            own = torch.where((inputs >= where.start) & (inputs < where.stop), inputs - where.start, -1)
            channels = own.repeat(1, weight.shape[1] // inputs.shape[1]).to(weight.device)  # taps outside
            n = moments.count
            gram = moments.aa - moments.a.unsqueeze(2) * moments.a.unsqueeze(1) / n
            varies = float((moments.yy - moments.y.square() / n).clamp_min(0).sum())
            scaled = weight.double() / varies**0.5 if varies > 0 else torch.zeros_like(weight, dtype=torch.float64)
            systems += [
                Reader(g, w, c, self.ridge)
                for g, w, c in zip(gram, scaled, channels, strict=True)
                if bool((c >= 0).any())
            ]
        return eliminate(systems, graph[name].channels, graph[name].blocks)


def _readers(graph: ChannelGraph, name: str) -> list[Layer]:
    """Return the layers with weights that read a group's channels; of several with the same weights the first."""
    where, modules = graph.channels_of(name), dict(graph.model.named_modules())
    found: dict[int, Layer] = {}
    for layer in graph.layers:
        reads = ((layer.inputs >= where.start) & (layer.inputs < where.stop)).any()
        if reads and layer.kind in PRODUCERS and not layer.depthwise:
            found.setdefault(id(tensor_of(modules[layer.name], "weight")), layer)
    return list(found.values())


def _parts(graph: ChannelGraph, readers: dict[str, list[Layer]]) -> Iterator[list[str]]:
    """Yield the groups in parts whose layers' second moments can be held at a time."""
    modules = dict(graph.model.named_modules())
    part: list[str] = []
    held: dict[str, int] = {}
    for name, layers in readers.items():
        needed = {}
        for layer in layers:
            weight = tensor_of(modules[layer.name], "weight")
            features = weight.numel() // max(1, len(layer.outputs))
            needed[layer.name] = 8 * layer.groups * features * (features + len(layer.outputs) // layer.groups)
        if part and sum((held | needed).values()) > MEMORY:
            yield part
            part, held = [], {}
        part.append(name)
        held |= needed
    if part:
        yield part

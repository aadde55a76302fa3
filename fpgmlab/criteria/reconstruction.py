"""Scores by what the other channels cannot take over, from second moments of what the layers read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpgmlab.common.batches import examples_in
from fpgmlab.common.inputs import inputs_of
from fpgmlab.common.numbers import whole_number
from fpgmlab.criteria.rules import GraphCriterion, check_numbers
from fpgmlab.errors import few
from fpgmlab.geometry.elimination import Reader, eliminate
from fpgmlab.geometry.least_squares import USUAL
from fpgmlab.geometry.moments import Moments
from fpgmlab.graph.calls import to_matrix
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import REFITTED, Layer
from fpgmlab.graph.moments import read_moments
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.graph.projections import names_of, own_tensors

if TYPE_CHECKING:
    from tqdm.auto import tqdm

MEMORY = 2**30  # bytes of second moments that are held at a time, if one group's are not more


@dataclass(frozen=True, eq=False)
class Reconstruction(GraphCriterion):
    """What is lost of the layers that read a channel when the other channels take over as well as they can.

    FPGM's argument, with numbers: a filter may go when others can stand in for it. Here they do: from what the network
    computes on some pictures without labels, the channels of a group go one after the other, each time the one whose
    absence changes the outputs of all layers that read the group least, the weights of what stays refitted by least
    squares. A score is the error by the time when a channel goes: squared, as a share of the outputs' variance, added
    up over the layers. It is what `fpgmlab.repair` can make up for that does not count. ThiNet (Luo, Wu & Lin, ICCV
    2017, arXiv:1707.06342) goes by the outputs of the next layer too, but weighs channels once all are chosen.

    A linear layer that reads several positions of a channel, and more features than there are pictures, is taken
    position by position: so few equations say nothing of how one position follows from the others.

    Parameters
    ----------
    task : task, data set, data loader, list of batches
        Where pictures come from, as for `fpgmlab.repair`; of a task the training data.
    samples : int, optional
        Pictures; when left out, as many as `fpgmlab.repair` takes.
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
    samples: int | None = None
    seed: int = 0
    ridge: float = USUAL

    def __post_init__(self) -> None:
        if self.samples is not None:
            whole_number("samples", self.samples)
        if not 0 < self.ridge < float("inf"):
            raise ValueError(f"ridge must be a number above 0, such as {USUAL}; got {self.ridge}")

    def of_graph(self, graph: ChannelGraph, names: Sequence[str], *, bar: tqdm | None = None) -> dict[str, Tensor]:
        """Return the scores (channels,) of these groups; those that no layer with weights reads are left out.

        Parameters
        ----------
        graph : ChannelGraph
        names : sequence of str
            The groups to score.
        bar : tqdm, optional
            Is told of each batch and group.

        Raises
        ------
        ValueError
            As the class.
        """
        readers = _readers(graph, names)
        every = {reader.name: reader for reader in chain.from_iterable(readers.values())}
        for layer, reader in every.items():
            check_numbers(layer, reader.weight)
        wanted = self.samples or enough_pictures(graph)
        batches = inputs_of(self.task, wanted, self.seed, at_most=self.samples is None) if readers else []
        there = sum(map(examples_in, batches))
        split = {layer: parts for layer, reader in every.items() if (parts := reader.parts(there)) is not None}
        scores: dict[str, Tensor] = {}
        rounds = list(_held_together(readers, split))
        if bar is not None:
            bar.reset(len(rounds) * len(batches) + len(readers))
        step = (lambda: None) if bar is None else bar.update
        for some in rounds:
            layers = list(dict.fromkeys(reader.name for name in some for reader in readers[name]))
            moments = read_moments(graph, batches, layers, seed=self.seed, parts=split, on_batch=step)
            for name in some:
                systems = []
                for reader in readers[name]:
                    layer = reader.name
                    if layer in moments:
                        systems += reader.systems(graph.channels_of(name), moments[layer], split.get(layer), self.ridge)
                if not systems:
                    raise ValueError(
                        f"criterion {self.label!r} cannot score group {name!r}: on these pictures none of the layers "
                        f"that read it ran ({few(reader.name for reader in readers[name])})"
                    )
                scores[name] = eliminate(systems, graph[name].channels, graph[name].blocks)
                step()
        return scores

    @property
    def no_scores(self) -> str:
        """Nobody would miss its channels, as far as is known here."""
        return "no convolution or linear layer reads it"

    def scores(self, filters: Tensor) -> Tensor:
        """Raise a `ValueError`, whatever the filters (n, dim) are: of weights alone no score follows to return."""
        raise ValueError("it needs a graph, not weights alone: what can be taken over depends on what the layers read")


@dataclass(frozen=True, eq=False)
class _Reader:
    """A layer that reads channels, or a part of one by its name; see `names_of`."""

    name: str
    layer: Layer
    weight: Tensor

    def parts(self, samples: int) -> Tensor | None:
        """Return the features of each position, (positions, channels), of a linear layer behind a flattening.

        None of other layers, and where there are more equations than features: one for each picture, or token in it.
        """
        inputs = torch.from_numpy(self.layer.inputs)
        _, place, counts = torch.unique(inputs, return_inverse=True, return_counts=True)
        times = int(counts[0])
        equations = samples * max(1, self.layer.positions)
        if self.layer.kind != "linear" or len(inputs) <= equations or times == 1 or bool((counts != times).any()):
            return None
        return torch.argsort(place, stable=True).reshape(-1, times).T

    def size(self, parts: Tensor | None) -> int:
        """Return how many numbers its second moments are."""
        if parts is not None:
            return parts.shape[0] * parts.shape[1] ** 2
        groups = self.layer.groups
        outputs = self.weight.shape[1] * groups if self.layer.transposed else len(self.weight)
        features = self.weight.numel() // outputs
        return groups * features * (features + outputs // groups)

    def systems(self, where: slice, moments: Moments, parts: Tensor | None, ridge: float) -> list[Reader]:
        """Return it as `eliminate` wants it, for the channels of one group: a part for each of its own groups."""
        weight = to_matrix(self.weight.detach(), self.layer.groups, self.layer.transposed)
        inputs = torch.from_numpy(self.layer.inputs).to(weight.device).reshape(self.layer.groups, -1)
        own = torch.where((inputs >= where.start) & (inputs < where.stop), inputs - where.start, -1)
        channels = own.repeat(1, weight.shape[1] // inputs.shape[1])  # taps outside
        n = moments.count
        gram = moments.aa - moments.a.unsqueeze(2) * moments.a.unsqueeze(1) / n
        if parts is None:
            varies = float((moments.yy - moments.y.square() / n).clamp_min(0).sum())
        else:  # each position by itself
            weight, channels = weight[0][parts], own[0][parts]
            varies = sum(float((w * (g @ w)).sum()) for g, w in zip(gram, weight.double(), strict=True))
        if not isfinite(varies):
            raise ValueError(f"layer {self.name!r} has NaN or infinite weights. Load good weights first.")
        weight = weight / varies**0.5 if varies > 0 else torch.zeros_like(weight)
        own_parts = zip(gram, weight, channels, strict=True)
        return [Reader(g, w, c, ridge) for g, w, c in own_parts if bool((c >= 0).any())]


def _readers(graph: ChannelGraph, names: Sequence[str]) -> dict[str, list[_Reader]]:
    """Return the layers with weights that read some groups' channels; of several with the same weights the first."""
    modules = dict(graph.model.named_modules())
    found: dict[str, dict[tuple, _Reader]] = {name: {} for name in names}
    for layer in graph.layers:
        if layer.kind not in REFITTED or layer.depthwise:
            continue
        for part in names_of(layer):
            weight = own_tensors(modules, part)["weight"]
            key = (weight.data_ptr(), weight.shape)
            for name in graph.groups_of(layer.inputs):
                if name in found:
                    found[name].setdefault(key, _Reader(part, layer, weight))
    return {name: list(layers.values()) for name, layers in found.items() if layers}


def _held_together(readers: Mapping[str, Sequence[_Reader]], split: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yield the groups in parts whose layers' second moments can be held at a time."""
    part: list[str] = []
    held: dict[str, int] = {}
    for name, layers in readers.items():
        needed = {reader.layer.name: 8 * reader.size(split.get(reader.layer.name)) for reader in layers}
        if part and sum((held | needed).values()) > MEMORY:
            yield part
            part, held = [], {}
        part.append(name)
        held |= needed
    if part:
        yield part

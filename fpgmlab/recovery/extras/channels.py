"""The weights that belong to each channel of a graph, in the network that is trained."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_at
from fpgmlab.errors import one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import Layer

SIDES = ("makers", "readers")


@dataclass(frozen=True, eq=False)
class Slices:
    """A parameter of a layer, cut into the weights that belong to one channel each.

    Attributes
    ----------
    name : str
        Of the parameter.
    tensor : Tensor
        The parameter's own.
    blocks : int
        For slices along the second dimension: how many blocks of rows have their own channels there. 0 for slices along
        ``dim``.
    dim : int
    channels : Tensor, (slices,) int64
        The channel of each, in the numbering of the graph's layers; one more than the last for none.
    """

    name: str
    tensor: Tensor
    blocks: int
    dim: int
    channels: Tensor

    def squares(self) -> Tensor:
        """Return the sum of each slice's squares, (slices,)."""
        weights = self.tensor.detach().square()
        if not self.blocks:
            return weights.movedim(self.dim, 0).flatten(1).sum(1) if weights.ndim > 1 else weights
        sums = weights.flatten(2).sum(2) if weights.ndim > 2 else weights  # (rows, columns)
        return sums.unflatten(0, (self.blocks, -1)).sum(1).flatten()

    @torch.no_grad()
    def scale(self, by: Tensor) -> None:
        """Multiply each slice by its number, (slices,)."""
        if not self.blocks:
            shape = [1] * self.tensor.ndim
            shape[self.dim] = -1
            self.tensor.mul_(by.view(shape))
            return
        rows = len(self.tensor) // self.blocks
        factors = by.unflatten(0, (self.blocks, 1, -1)).expand(-1, rows, -1).flatten(0, 1)  # (rows, columns)
        self.tensor.mul_(factors.view(*factors.shape, *[1] * (self.tensor.ndim - 2)))


def of_network(graph: ChannelGraph, model: nn.Module) -> ChannelGraph:
    """Return the graph of a network with the names and shapes of the graph's own.

    Raises
    ------
    ValueError
        For another network, with the first tensor that is missing or of another shape.
    """
    if model is graph.model:
        return graph
    theirs = dict(model.state_dict(keep_vars=True))
    for name, tensor in graph.model.state_dict(keep_vars=True).items():
        found = "no such tensor" if name not in theirs else tuple(theirs[name].shape)
        if found != tuple(tensor.shape):
            raise ValueError(
                f"the graph is of another network than the one that is trained: {name!r} has {tuple(tensor.shape)} in "
                f"the graph's, here {found}. Trace the network that is trained: fpgmlab.trace(model, example_input)"
            )
    new = copy.copy(graph)
    new.model = model
    return new


def slices_of(graph: ChannelGraph, side: str) -> list[Slices]:
    """Return the weights of each channel, no weight twice.

    Parameters
    ----------
    graph : ChannelGraph
    side : {"makers", "readers"}
        What makes a channel: filters of all its producers with their biases, depthwise filters, scales and shifts of
        batch norms and what else has numbers for each channel; or what reads it in its consumers.
    """
    if side not in SIDES:
        raise ValueError(one_of("side", side, SIDES))
    found: dict[int, Slices] = {}
    total, modules = count_of(graph), dict(graph.model.named_modules())
    for layer in graph.layers:
        for name, tensor, blocks, dim, channels in _made(modules, layer) if side == "makers" else _read(modules, layer):
            index = torch.from_numpy(np.where(channels < 0, total, channels)).to(tensor.device)
            found.setdefault(id(tensor), Slices(name, tensor, blocks, dim, index))
    return list(found.values())


def count_of(graph: ChannelGraph) -> int:
    """Return how many channels all groups have."""
    return sum(group.channels for group in graph.values())


def free_channels(graph: ChannelGraph) -> Tensor:
    """Return which channels belong to groups that are not protected, (channels,) bool."""
    free = [torch.full((group.channels,), group.protected is None) for group in graph.values()]
    return torch.cat(free)


def sums_by_channel(slices: Sequence[Slices], channels: int) -> Tensor:
    """Return the sum of squares of all weights of each channel, (channels + 1,): the last one is of no channel."""
    device = slices[0].tensor.device if slices else None
    sums = torch.zeros(channels + 1, device=device)
    for one in slices:
        sums.index_add_(0, one.channels, one.squares().to(sums))
    return sums


Cut = tuple[str, Tensor, int, int, np.ndarray]  # the fields of `Slices`, -1 for no channel


def _made(modules: Mapping[str, nn.Module], layer: Layer) -> Iterator[Cut]:
    for name, tensor, axes in layer.tensors(modules):
        if isinstance(tensor, nn.Parameter):
            if axes.outputs is not None:
                yield _slices(name, tensor, layer, axes.outputs, layer.outputs)
            elif layer.depthwise:  # transposed: its rows are counted by what it takes
                yield _slices(name, tensor, layer, 0, layer.inputs)


def _read(modules: Mapping[str, nn.Module], layer: Layer) -> Iterator[Cut]:
    for name in layer.reading:
        tensor = tensor_at(modules, name)
        if isinstance(tensor, nn.Parameter) and (dim := layer.axes(name, tensor).inputs) is not None:
            yield _slices(name, tensor, layer, dim, layer.inputs)


def _slices(name: str, tensor: Tensor, layer: Layer, dim: int, channels: np.ndarray) -> Cut:
    blocked = layer.groups > 1 and dim == 1
    return name, tensor, layer.groups if blocked else 0, 0 if blocked else dim, channels

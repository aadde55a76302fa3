"""The layers that read a group, with other weights: what changes in them, and a network that holds it for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.graph.calls import from_matrix
from fpgmlab.graph.layer import Layer
from fpgmlab.surgery.cutting import holders_of


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
        return from_matrix(whole, like, layer.transposed)

    def tensors(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parameters and buffers that it changes, by dotted name; ``state`` has those of before."""
        found = {self.consumer.weight: self.weight(state[self.consumer.weight])}
        if self.offset is not None and self.consumer.offset is not None:
            before = state[self.consumer.offset]
            found[self.consumer.offset] = before + self.consumer.sign * self.offset.to(before.dtype)
        return found


def bias_beside(weight: str) -> str:
    """Return the dotted name of the bias that may be beside a weight."""
    return f"{weight.removesuffix('weight')}bias"


def joined(parts: Sequence[Refit]) -> Refit:
    """Return the refits of some of a consumer's outputs each as one of all; they read the same channels."""
    first = parts[0]
    if len(parts) == 1:
        return first
    offsets = [part.offset for part in parts if part.offset is not None]
    matrix = torch.cat([part.matrix for part in parts], dim=2)
    return Refit(first.consumer, first.stay, matrix, torch.cat(offsets) if offsets else None)


def consumer_of(model: nn.Module, layer: Layer, norm: str | None) -> Consumer:
    """Return a layer with what can take an offset of its output."""
    holders = holders_of(model)
    weight, bias = layer.weight, bias_beside(layer.weight)
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

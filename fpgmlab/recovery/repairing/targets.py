"""What layers shall give: samples of what the whole network gives in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_of
from fpgmlab.common.shelf import Shelf
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.following import Following
from fpgmlab.graph.moments import PLACES, some_places
from fpgmlab.recovery.repairing.equations import Sums, sums_of
from fpgmlab.recovery.repairing.following import After

EACH = 512  # equations for an unknown are plenty: a depthwise convolution has ten


@dataclass(frozen=True, eq=False)
class Places:
    """Where a layer is looked at in one batch: ``places`` of its call; those after the first ``used`` are held out."""

    places: Tensor
    used: int


@dataclass(frozen=True, eq=False)
class Cut:
    """A layer in the pruned network, and which of the whole one's channels it still has.

    Attributes
    ----------
    weight : Tensor
    groups : int
        Of the convolution.
    inputs, outputs : Tensor, (channels,) bool
        Which of the whole network's channels stay.
    """

    weight: Tensor
    groups: int
    inputs: Tensor
    outputs: Tensor

    def of(self, call: LayerCall) -> LayerCall:
        """Return a call of the whole network's layer as one of this layer, on the channels that it still has."""
        dim = -call.rank - 1
        stay = self.inputs.nonzero().squeeze(1).to(call.input.device)
        return replace(
            call, input=call.input.index_select(dim, stay), weight=self.weight, bias=None, groups=self.groups
        )


class Drawing:
    """Draws places of layers, and which of them are held out: all of a picture where there are enough of them.

    Parameters
    ----------
    positions : int or None
        Of each picture; None for as many as the equations ask for: `PLACES` over all pictures, or `EACH` an unknown.
    pictures : int
        In all.
    every : int
        So many-th picture is held out.
    seed : int
    """

    def __init__(self, positions: int | None, pictures: int, every: int, seed: int) -> None:
        self._positions, self._pictures, self._every = positions, pictures, every
        self._by_picture = pictures >= 2 * every
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, call: LayerCall, pictures: int, first: int) -> Places:
        """Draw places of a call.

        Parameters
        ----------
        call : LayerCall
        pictures : int
            In the batch.
        first : int
            The number of its first picture among all.
        """
        each = self._positions
        if each is None:
            each = math.ceil(min(PLACES, EACH * (call.features + 1)) / self._pictures)
        places = some_places(call, each * pictures, self._generator)
        if self._by_picture:
            inside = call.input.ndim == 3 and not call.rank and call.input.shape[1] == pictures != len(call.input)
            number = first + (places % pictures if inside else places * pictures // call.places)
        else:
            number = torch.arange(len(places), device=places.device)
        held = number % self._every == self._every - 1
        return Places(torch.cat([places[~held], places[held]]), int((~held).sum()))


class Targets(Following):
    """Puts aside what the whole network gives in place of each layer of the pruned one, for one batch.

    Parameters
    ----------
    model : nn.Module
        The whole network.
    inputs : object
        The batch.
    cuts : mapping of str to Cut
        The layers to look at.
    after : mapping of str to After
    shelf : Shelf
        Gets the targets by ``(layer, batch)``: (places, outputs that stay, or all of them).
    drawing : Drawing
    batch, pictures, first : int
        Its number, its size, the number of its first picture.
    many : bool
        Put aside what all outputs give.
    """

    def __init__(
        self, model: nn.Module, inputs: object, cuts: Mapping[str, Cut], after: Mapping[str, After], shelf: Shelf,
        drawing: Drawing, batch: int, pictures: int, first: int, many: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(model, list(cuts), inputs)
        self.places: dict[str, Places] = {}
        self.elsewhere: dict[str, Sums] = {}  # of layers that are called again: of the further calls
        self._cuts, self._after, self._shelf, self._drawing = cuts, after, shelf, drawing
        self._batch, self._pictures, self._first, self._many = batch, pictures, first, many
        self._awaited: dict[int, tuple[str, LayerCall]] = {}  # layers by the number of what is wanted

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        """After a layer was called."""
        drawn = self._drawing.draw(call, self._pictures, self._first)
        if layer in self.places:  # with these weights too: its inputs as they are here, without what goes
            targets = call.at(out, drawn.places)[:, self._cuts[layer].outputs]
            found = sums_of(self._cuts[layer].of(call), targets, drawn.places, drawn.used, exact=False)
            self.elsewhere[layer] = self.elsewhere[layer] + found if layer in self.elsewhere else found
            return
        self.places[layer] = drawn
        total = self._after[layer].total
        if total is None:
            self._put(layer, call, out)
        else:
            self._awaited[total] = (layer, call)

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""
        if self.number in self._awaited:
            layer, call = self._awaited.pop(self.number)
            self._put(layer, call, self._after[layer].in_order(tensor))

    def _put(self, layer: str, call: LayerCall, made: Tensor) -> None:
        found = call.at(made, self.places[layer].places)
        if not self._many:
            found = found[:, self._cuts[layer].outputs.to(made.device)]
        self._shelf.put((layer, self._batch), found)


@dataclass(frozen=True, eq=False)
class Output:
    """How a layer's output becomes what is compared: ``scale * output + shift``.

    Attributes
    ----------
    scale : Tensor, (outputs,)
        Of the batch norm behind, else 1.
    shift : Tensor, (outputs,)
    """

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, norm: nn.Module | None, outputs: int, device: torch.device) -> Output:
        """Return it for a batch norm of the pruned network, or for none."""
        if norm is None:
            return cls(torch.ones(outputs, device=device), torch.zeros(outputs, device=device))
        mean, variance = tensor_of(norm, "running_mean").detach(), tensor_of(norm, "running_var").detach()
        scale = (variance + float(getattr(norm, "eps", 0.0))).rsqrt()
        weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
        scale = scale if weight is None else scale * weight.detach()
        shift = -mean * scale
        return cls(scale, shift if bias is None else shift + bias.detach())

    @property
    def importance(self) -> Tensor:
        """How much a squared error of each output counts for what comes next, (outputs,)."""
        return self.scale.square()

    def undone(self, value: Tensor) -> Tensor:
        """Return the outputs that become a value, (places, outputs); of an output that counts for nothing, zeros."""
        idle = self.scale.abs() < 1e-12
        return torch.where(idle, 0.0, (value - self.shift) / torch.where(idle, 1.0, self.scale))

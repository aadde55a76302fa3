"""Calls of convolutions and linear layers as what they are: which input values make which output values."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

_RANKS = {f"{kind}{n}d": n for n in (1, 2, 3) for kind in ("conv", "conv_transpose")}
_ORDER = {
    False: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    True: ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
}


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a convolution or linear layer, before it is computed.

    Attributes
    ----------
    input, weight : Tensor
    bias : Tensor or None
    rank : int
        Spatial dimensions, 0 of a linear layer.
    transposed : bool
    stride, padding, dilation : tuple of int
        (rank,); the padding at the beginning of each dimension.
    groups : int
    size : tuple of int
        Of the output, (rank,).
    """

    input: Tensor
    weight: Tensor
    bias: Tensor | None
    rank: int = 0
    transposed: bool = False
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    size: tuple[int, ...] = ()

    @property
    def places(self) -> int:
        """How often the kernel is applied: examples times positions."""
        if self.rank:
            return self._examples * prod(self.size)
        return self.input.numel() // self.input.shape[-1]

    @property
    def _examples(self) -> int:
        return len(self.input) if self.input.ndim == self.rank + 2 else 1

    @property
    def taps(self) -> int:
        """Positions of the kernel, 1 of a linear layer."""
        return prod(self.weight.shape[2:])

    @property
    def features(self) -> int:
        """How many numbers an output is made of: taps times the input channels of a group."""
        return self.taps * self.input.shape[-self.rank - 1] // self.groups

    def rows(self, places: Tensor, sources: Tensor | None = None) -> Tensor:
        """Return what the kernel reads at some places, (groups, places, taps * input channels of a group).

        Parameters
        ----------
        places : Tensor, (n,) int64
            From 0 to ``self.places``: examples outside, positions inside.
        sources : Tensor, optional
            `sources` of these places, where they are known.
        """
        x = self.input.detach()
        if not self.rank:
            return x.reshape(-1, x.shape[-1])[places].unsqueeze(0)
        x = x if x.ndim == self.rank + 2 else x.unsqueeze(0)
        channels = x.shape[1]
        flat = x.movedim(1, -1).reshape(-1, channels)  # (examples * positions, channels)
        flat = torch.cat([flat, flat.new_zeros(1, channels)])  # what padding gives
        index = self.sources(places) if sources is None else sources
        read = flat.index_select(0, index.flatten()).unflatten(0, index.shape)  # (n, taps, channels)
        n, width = len(places), channels // self.groups
        if self.groups == 1:
            return read.reshape(1, n, -1)
        return read.reshape(n, self.taps, self.groups, width).permute(2, 0, 1, 3).reshape(self.groups, n, -1)

    def sources(self, places: Tensor) -> Tensor:
        """Return where each tap reads at each place, (n, taps): examples outside, positions inside; last: padding."""
        x = self.input
        shape = x.shape[-self.rank :]
        last = self._examples * prod(shape)
        kernel = tuple(self.weight.shape[2:])
        taps = torch.arange(self.taps, device=places.device)
        rest, rest_taps = places % prod(self.size), taps
        index = torch.zeros(len(places), len(taps), dtype=torch.int64, device=places.device)
        inside = torch.ones_like(index, dtype=torch.bool)
        step = 1
        for d in reversed(range(self.rank)):
            out, tap = rest % self.size[d], rest_taps % kernel[d]
            rest, rest_taps = rest // self.size[d], rest_taps // kernel[d]
            if self.transposed:
                far = out.unsqueeze(1) + self.padding[d] - (tap * self.dilation[d]).unsqueeze(0)
                at = far.div(self.stride[d], rounding_mode="floor")
                inside &= far % self.stride[d] == 0
            else:
                at = (out * self.stride[d] - self.padding[d]).unsqueeze(1) + (tap * self.dilation[d]).unsqueeze(0)
            inside &= (at >= 0) & (at < shape[d])
            index += at * step
            step *= shape[d]
        example = places.div(prod(self.size), rounding_mode="floor")
        return torch.where(inside, index + example.unsqueeze(1) * step, last).int()

    def at(self, made: Tensor, places: Tensor) -> Tensor:
        """Return the values of this call's output, or of what is shaped like it, at some places, (places, channels)."""
        if not self.rank:
            return made.detach().reshape(-1, made.shape[-1])[places]
        made = made.detach() if made.ndim == self.rank + 2 else made.detach().unsqueeze(0)
        per = prod(self.size)
        flat = made.reshape(*made.shape[:2], per)
        return flat[places.div(per, rounding_mode="floor"), :, places % per]

    def matrix(self) -> Tensor:
        """Return the weights as `rows` are multiplied by them, (groups, taps * inputs, outputs) of a group."""
        return to_matrix(self.weight.detach(), self.groups, self.transposed)


def to_matrix(weight: Tensor, groups: int, transposed: bool) -> Tensor:
    """Return a layer's weights as a matrix for each of its groups, (groups, taps * inputs, outputs)."""
    weight = weight.flatten(2) if weight.ndim > 2 else weight.unsqueeze(-1)
    if transposed:  # (in, out/groups, taps)
        per = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, inputs, outputs, taps)
        return per.permute(0, 3, 1, 2).flatten(1, 2)
    per = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, outputs, inputs, taps)
    return per.permute(0, 3, 2, 1).flatten(1, 2)


def from_matrix(matrix: Tensor, like: Tensor, transposed: bool) -> Tensor:
    """Return a layer's weights, shaped and typed like ``like``, from a matrix for each group; undoes `to_matrix`."""
    taps = prod(like.shape[2:])
    groups, _, outputs = matrix.shape
    per = matrix.reshape(groups, taps, -1, outputs)  # (groups, taps, inputs, outputs)
    per = per.permute(0, 2, 3, 1) if transposed else per.permute(0, 3, 2, 1)
    return per.reshape(like.shape).to(like.dtype)


def is_layer(name: str) -> bool:
    """Tell whether a torch function (its name) is a convolution or a linear layer."""
    return name in _RANKS or name == "linear"


def layer_call(name: str, args: tuple, kwargs: dict) -> LayerCall:
    """Return what a call of one of torch's convolutions or of ``linear`` says."""
    if name == "linear":
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        return LayerCall(given["input"], given["weight"], given.get("bias"))
    rank, transposed = _RANKS[name], "transpose" in name
    given = dict(zip(_ORDER[transposed], args, strict=False)) | kwargs
    kernel = given["weight"].shape[2:]
    stride, dilation, extra = (
        _spread(given.get(key, usual), rank) for key, usual in (("stride", 1), ("dilation", 1), ("output_padding", 0))
    )
    spans = [dilation[d] * (kernel[d] - 1) for d in range(rank)]
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        both = spans if padding == "same" else [0] * rank
        before = tuple(span // 2 for span in both)
    else:
        before = _spread(padding, rank)
        both = [2 * p for p in before]
    shape = given["input"].shape[-rank:]
    if transposed:
        size = [(shape[d] - 1) * stride[d] - both[d] + spans[d] + extra[d] + 1 for d in range(rank)]
    else:
        size = [(shape[d] + both[d] - spans[d] - 1) // stride[d] + 1 for d in range(rank)]
    return LayerCall(
        given["input"], given["weight"], given.get("bias"), rank, transposed, stride, before, dilation,
        given.get("groups", 1), tuple(size),
    )  # fmt: skip


def _spread(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * rank if len(values) == 1 else values

"""Efficient convolutions: what to build instead of a heavy layer, each small enough to be read in one go.

All are linear and padded so that a picture keeps its size at stride 1, and all do one MAC for each weight at each
position of their output: one formula, `weights_of`, gives both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn

from fpgmlab.errors import one_of

KINDS = ("plain", "dilated", "grouped", "shuffled", "depthwise_separable")

Size = int | tuple[int, int]


class ConvOptions(TypedDict, total=False):
    """What `torch.nn.Conv2d` takes beside channels and the kernel's size."""

    stride: Size
    padding: Size | str
    dilation: Size
    groups: int
    bias: bool
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"]


def plain(inputs: int, outputs: int, kernel_size: Size = 3, **options: Unpack[ConvOptions]) -> nn.Conv2d:
    """Return a plain convolution: each output channel reads all input channels.

    k·k·inputs·outputs weights. The options are those of `torch.nn.Conv2d`, here and below.
    """
    (height, width), (down, across) = _pair(kernel_size), _pair(options.get("dilation", 1))
    options.setdefault("padding", (down * (height - 1) // 2, across * (width - 1) // 2))
    return nn.Conv2d(inputs, outputs, kernel_size, **options)


def dilated(inputs: int, outputs: int, kernel_size: Size = 3, **options: Unpack[ConvOptions]) -> nn.Conv2d:
    """Return a dilated convolution: its kernel's places are ``dilation`` pixels apart, 2 if not told.

    k·k·inputs·outputs weights, as a plain one, but it looks at ``dilation * (k - 1) + 1`` pixels across instead of k
    (Yu & Koltun, ICLR 2016).
    """
    options.setdefault("dilation", 2)
    return plain(inputs, outputs, kernel_size, **options)


def grouped(inputs: int, outputs: int, kernel_size: Size = 3, **options: Unpack[ConvOptions]) -> nn.Conv2d:
    """Return a grouped convolution: ``groups`` of them side by side, 4 if not told, each with its channels.

    k·k·inputs·outputs / groups weights (AlexNet, Krizhevsky et al., NeurIPS 2012; ResNeXt, Xie et al., CVPR 2017).

    Raises
    ------
    ValueError
        When the groups do not divide both numbers of channels.
    """
    _check_groups(inputs, outputs, options.setdefault("groups", 4))
    return plain(inputs, outputs, kernel_size, **options)


class ChannelShuffle(nn.Module):
    """Channels dealt out anew: the first of each group, then the second of each (ShuffleNet, Zhang et al., CVPR 2018).

    Without weights. Behind a grouped convolution, each group of the next one then reads from all groups. Written so
    that it can be pruned: channels at the same place of all groups go together.

    Parameters
    ----------
    groups : int
        Into which the channels are divided; they must be a multiple of it.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of x, (batch, channels, height, width), in their new order.

        Raises
        ------
        ValueError
            When the channels are no multiple of the groups.
        """
        parts = x.chunk(self.groups, 1)  # each (batch, channels / groups, height, width)
        if len(parts) != self.groups:
            raise ValueError(f"{self.groups} groups cannot share {x.shape[1]} channels alike")
        return torch.stack(parts, 2).flatten(1, 2)  # (batch, channels, height, width)

    def extra_repr(self) -> str:
        """Return what the module's ``repr`` says of it."""
        return f"groups={self.groups}"


class ShuffledGrouped(nn.Module):
    """A grouped convolution and a channel shuffle behind it: k·k·inputs·outputs / groups weights.

    After ShuffleNet, whose grouped convolutions are 1x1 (Zhang et al., CVPR 2018, arXiv:1707.01083).

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel_size : int or tuple of int
    **options
        Of `torch.nn.Conv2d`; 4 groups if not told.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: Size = 3, **options: Unpack[ConvOptions]) -> None:
        super().__init__()
        self.conv = grouped(inputs, outputs, kernel_size, **options)
        self.shuffle = ChannelShuffle(self.conv.groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for x, (batch, inputs, height, width) -> (batch, outputs, rows, columns)."""
        return self.shuffle(self.conv(x))


class DepthwiseSeparable(nn.Module):
    """A depthwise convolution, a filter for each channel, and a pointwise one, 1x1, that mixes the channels.

    k·k·inputs + inputs·outputs weights: 1/outputs + 1/(k·k) of a plain one's, about a ninth for k = 3 (Xception,
    Chollet, CVPR 2017; MobileNet, Howard et al., 2017). Nothing stands between the two, as in Xception.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel_size : int or tuple of int
    **options
        Of `torch.nn.Conv2d`: the bias is the pointwise one's, all else the depthwise one's.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: Size = 3, **options: Unpack[ConvOptions]) -> None:
        super().__init__()
        bias = options.pop("bias", True)
        options["groups"], options["bias"] = inputs, False
        self.depthwise = plain(inputs, inputs, kernel_size, **options)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for x, (batch, inputs, height, width) -> (batch, outputs, rows, columns)."""
        return self.pointwise(self.depthwise(x))


_MAKERS: dict[str, Callable[..., nn.Module]] = {
    "plain": plain,
    "dilated": dilated,
    "grouped": grouped,
    "shuffled": ShuffledGrouped,
    "depthwise_separable": DepthwiseSeparable,
}


def convolution(
    kind: str, inputs: int, outputs: int, kernel_size: Size = 3, **options: Unpack[ConvOptions]
) -> nn.Module:
    """Return a convolution of a kind.

    Parameters
    ----------
    kind : {"plain", "dilated", "grouped", "shuffled", "depthwise_separable"}
    inputs, outputs : int
        Channels.
    kernel_size : int or tuple of int
    **options
        Of `torch.nn.Conv2d`; see the kinds.

    Raises
    ------
    ValueError
        For another kind, and groups that do not divide the channels.

    Examples
    --------
    >>> fl.models.convolution("grouped", 64, 64, groups=4)
    Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=4)
    """
    if kind not in KINDS:
        raise ValueError(one_of("kind", kind, KINDS))
    return _MAKERS[kind](inputs, outputs, kernel_size, **options)


def weights_of(kind: str, inputs: int, outputs: int, kernel_size: int = 3, groups: int = 4) -> int:
    """Return the formula's number of weights, without a bias; times the positions of the output it is that of MACs.

    Parameters
    ----------
    kind : {"plain", "dilated", "grouped", "shuffled", "depthwise_separable"}
    inputs, outputs : int
        Channels.
    kernel_size : int
        Of both sides.
    groups : int
        Of grouped and shuffled ones.

    Raises
    ------
    ValueError
        For another kind, and groups that do not divide the channels.

    Examples
    --------
    >>> fl.models.weights_of("plain", 64, 64), fl.models.weights_of("depthwise_separable", 64, 64)
    (36864, 4672)
    """
    if kind not in KINDS:
        raise ValueError(one_of("kind", kind, KINDS))
    if kind == "depthwise_separable":
        return kernel_size**2 * inputs + inputs * outputs
    if kind not in ("grouped", "shuffled"):
        return kernel_size**2 * inputs * outputs
    _check_groups(inputs, outputs, groups)
    return kernel_size**2 * inputs * outputs // groups


def kernel_of(module: nn.Module) -> Tensor:
    """Return the kernel of the plain convolution that gives the same, (outputs, inputs, height, width).

    Dilated as the module's own.

    Raises
    ------
    TypeError
        For a module that is none of these convolutions.
    """
    if isinstance(module, DepthwiseSeparable):
        return module.pointwise.weight * module.depthwise.weight[:, 0]  # (o, i, 1, 1) * (i, h, w)
    if isinstance(module, ShuffledGrouped):
        return kernel_of(module.conv).unflatten(0, (module.shuffle.groups, -1)).transpose(0, 1).flatten(0, 1)
    if not isinstance(module, nn.Conv2d):
        raise TypeError(f"kernel_of takes the convolutions of this file; got {type(module).__name__}")
    blocks = module.weight.unflatten(0, (module.groups, -1))  # (groups, outputs / groups, inputs / groups, h, w)
    full = blocks.new_zeros(*blocks.shape[:2], module.groups, *blocks.shape[2:])
    for group, block in enumerate(blocks):
        full[group, :, group] = block
    return full.flatten(0, 1).flatten(1, 2)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _check_groups(inputs: int, outputs: int, groups: int) -> None:
    if groups < 1 or inputs % groups or outputs % groups:
        raise ValueError(f"groups must divide the channels, {inputs} in and {outputs} out; got {groups}")

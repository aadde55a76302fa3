"""YOLOv5 n, s, m, l and x (Jocher et al., 2020): the networks of release 5.0 and of releases 6.x.

Modules have the names that the official weights have, ``model.0`` to ``model.24``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fpgmlab.errors import unknown

SIZES = MappingProxyType(
    {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
)  # factors on depth and width
RELEASES = ("6.x", "5.0")
ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)  # width and height in pixels, by level
STRIDES = (8, 16, 32)  # pixels from cell to cell, by level
LEVELS = (17, 20, 23)  # the modules that the head reads


class Conv(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int = 1, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Focus(nn.Module):
    """Every second pixel, in four phases beside each other, then a 3x3 convolution: the stem of release 5.0."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv = Conv(4 * channels_in, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        phases = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        return self.conv(torch.cat(phases, dim=1))


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, with or without a shortcut."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 1)
        self.cv2 = Conv(channels, channels, 3)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """Cross-stage partial block: bottlenecks after one half of the channels, the other half beside them."""

    def __init__(self, channels_in: int, channels: int, depth: int, shortcut: bool) -> None:
        super().__init__()
        half = channels // 2
        self.cv1 = Conv(channels_in, half, 1)
        self.cv2 = Conv(channels_in, half, 1)
        self.cv3 = Conv(2 * half, channels, 1)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1))


class SPP(nn.Module):
    """Max pools of 5, 9 and 13 cells beside their input: spatial pyramid pooling, release 5.0."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels_in // 2
        self.cv1 = Conv(channels_in, half, 1)
        self.cv2 = Conv(4 * half, channels, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        return self.cv2(torch.cat((x, *(pool(x) for pool in self.m)), dim=1))


class SPPF(nn.Module):
    """The same function as `SPP` by three chained pools of 5 cells: releases 6.x."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels_in // 2
        self.cv1 = Conv(channels_in, half, 1)
        self.cv2 = Conv(4 * half, channels, 1)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return self.cv2(torch.cat(parts, dim=1))


class Concat(nn.Module):
    """Feature maps beside each other, channel after channel."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(maps), dim=1)


class Detect(nn.Module):
    """The head: for each level a 1x1 convolution that gives all numbers of all anchors."""

    def __init__(self, classes: int, channels: Sequence[int]) -> None:
        super().__init__()
        anchors = torch.tensor(ANCHORS, dtype=torch.float)  # (levels, anchors, 2)
        self.register_buffer("anchors", anchors / torch.tensor(STRIDES).view(-1, 1, 1))  # in cells, as official weights
        self.m = nn.ModuleList(nn.Conv2d(c, anchors.shape[1] * (5 + classes), 1) for c in channels)
        for layer, stride in zip(self.m, STRIDES, strict=True):
            # Start with rare objects (Lin et al., "Focal Loss", ICCV 2017, section 4.1), else their loss swamps all.
            bias = layer.bias.detach().view(anchors.shape[1], -1)  # (anchors, 5 + classes)
            bias[:, 4] = math.log(8 / (640 / stride) ** 2)  # eight objects in a picture of 640 px
            bias[:, 5:] = math.log(0.6 / (classes - 0.6))  # each class alike, in all 0.6

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer, x in zip(self.m, maps, strict=True))


@dataclass(frozen=True)
class _Part:
    """One numbered module at full size: what it is, and what it reads (numbers of modules; -1 is the one before)."""

    kind: str
    channels: int = 0
    depth: int = 0
    shortcut: bool = True
    reads: tuple[int, ...] = (-1,)


def _parts(release: str) -> tuple[_Part, ...]:
    """Return modules 0 to 23."""
    new = release == "6.x"
    pool = _Part("sppf" if new else "spp", 1024)
    return (
        _Part("stem" if new else "focus", 64),
        _Part("down", 128), _Part("c3", 128, 3),
        _Part("down", 256), _Part("c3", 256, 6 if new else 9),
        _Part("down", 512), _Part("c3", 512, 9),
        _Part("down", 1024), *((_Part("c3", 1024, 3), pool) if new else (pool, _Part("c3", 1024, 3, False))),
        _Part("conv", 512), _Part("up"), _Part("cat", reads=(-1, 6)), _Part("c3", 512, 3, False),
        _Part("conv", 256), _Part("up"), _Part("cat", reads=(-1, 4)), _Part("c3", 256, 3, False),
        _Part("down", 256), _Part("cat", reads=(-1, 14)), _Part("c3", 512, 3, False),
        _Part("down", 512), _Part("cat", reads=(-1, 10)), _Part("c3", 1024, 3, False),
    )  # fmt: skip


def _made(part: _Part, channels_in: int, channels: int, depth: int) -> nn.Module:
    match part.kind:
        case "stem":
            return Conv(channels_in, channels, 6, 2, 2)
        case "focus":
            return Focus(channels_in, channels)
        case "conv":
            return Conv(channels_in, channels)
        case "down":
            return Conv(channels_in, channels, 3, 2)
        case "c3":
            return C3(channels_in, channels, depth, part.shortcut)
        case "spp":
            return SPP(channels_in, channels)
        case "sppf":
            return SPPF(channels_in, channels)
        case "up":
            return nn.Upsample(scale_factor=2, mode="nearest")
        case _:
            return Concat()


class YOLOv5(nn.Module):
    """A detector that gives its head's raw maps, in training and in evaluation; `boxes.decode` makes boxes of them.

    Parameters
    ----------
    size : {"n", "s", "m", "l", "x"}
    classes : int or sequence of str
        How many, or their names.
    channels : int
        Of the image.
    width : float
        Factor on the channels of every layer, besides the size's own.
    release : {"6.x", "5.0"}
        6.x begins with a 6x6 convolution and ends its backbone with `SPPF`; 5.0 has `Focus`, and `SPP` before the
        backbone's last block.

    Attributes
    ----------
    names : tuple of str
        Of the classes.
    strides : tuple of int
        Pixels from cell to cell, by level.
    """

    strides = STRIDES

    def __init__(
        self,
        size: str,
        classes: int | Sequence[str] = 80,
        channels: int = 3,
        width: float = 1.0,
        release: str = "6.x",
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(unknown("size of YOLOv5", size, SIZES))
        if release not in RELEASES:
            raise ValueError(unknown("release of YOLOv5", release, RELEASES))
        self.names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
        depth_factor, width_factor = SIZES[size]
        self._reads = tuple(part.reads for part in _parts(release))
        modules: list[nn.Module] = []
        widths: list[int] = []
        for part in _parts(release):
            inputs = sum(widths[i] for i in part.reads) if widths else channels
            outputs = math.ceil(part.channels * width_factor * width / 8) * 8
            modules.append(_made(part, inputs, outputs, max(1, round(part.depth * depth_factor))))
            widths.append(outputs or inputs)
        modules.append(Detect(len(self.names), [widths[i] for i in LEVELS]))
        self.model = nn.ModuleList(modules)

    @property
    def anchors(self) -> Tensor:
        """Width and height of the anchors in pixels, (levels, anchors, 2)."""
        return self.model[-1].anchors * self.model[-1].anchors.new_tensor(self.strides).view(-1, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the raw map of each level.

        Parameters
        ----------
        x : Tensor, (batch, channels, height, width)
            RGB in [0, 1]; height and width are multiples of 32.

        Returns
        -------
        tuple of Tensor, (batch, anchors * (5 + classes), height / stride, width / stride)
            For each anchor x, y, width, height, objectness and classes, before the sigmoid.
        """
        if not torch.jit.is_tracing() and any(size % self.strides[-1] for size in x.shape[-2:]):
            raise ValueError(
                f"height and width must be multiples of {self.strides[-1]}; got {tuple(x.shape[-2:])}. "
                "fpgmlab.models.letterbox.letterbox makes them so."
            )
        maps: list[Tensor] = []
        for module, reads in zip(self.model[:-1], self._reads, strict=True):
            inputs = [maps[i] if maps else x for i in reads]
            maps.append(module(inputs[0] if len(inputs) == 1 else inputs))
        return self.model[-1]([maps[i] for i in LEVELS])

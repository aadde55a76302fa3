"""The blocks of YOLOv5, from the convolution to the head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_of

ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)  # width and height in pixels, by level
STRIDES = (8, 16, 32)  # pixels from cell to cell, by level


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
            bias = tensor_of(layer, "bias").detach().view(anchors.shape[1], -1)  # (anchors, 5 + classes)
            bias[:, 4] = math.log(8 / (640 / stride) ** 2)  # eight objects in a picture of 640 px
            bias[:, 5:] = math.log(0.6 / (classes - 0.6))  # each class alike, in all 0.6

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer, x in zip(self.m, maps, strict=True))

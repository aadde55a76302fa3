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

from fpgmlab.common.modules import tensor_of
from fpgmlab.errors import unknown
from fpgmlab.models.yolov5.blocks import C3, SPP, SPPF, STRIDES, Concat, Conv, Detect, Focus

SIZES = MappingProxyType(
    {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
)  # factors on depth and width
RELEASES = ("6.x", "5.0")
LEVELS = (17, 20, 23)  # the modules that the head reads


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
    """A detector that gives its head's raw maps, in training and in evaluation.

    `fpgmlab.models.boxes.decode` makes boxes of them. Module by module as YOLOv5 of Ultralytics (Jocher, 2020,
    doi:10.5281/zenodo.3908559).

    Parameters
    ----------
    size : {"n", "s", "m", "l", "x"}
        Of the family, from 1.9 M to 87 M parameters for COCO.
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

    Raises
    ------
    ValueError
        For an unknown size or release.
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
        in_cells = tensor_of(self.model[-1], "anchors")
        return in_cells * in_cells.new_tensor(self.strides).view(-1, 1, 1)

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

        Raises
        ------
        ValueError
            When height or width is no multiple of 32.
        """
        if not torch.jit.is_tracing() and any(size % self.strides[-1] for size in x.shape[-2:]):
            raise ValueError(
                f"height and width must be multiples of {self.strides[-1]}; got {tuple(x.shape[-2:])}. "
                "fl.models.boxes.letterbox(picture, size) makes them so"
            )
        maps: list[Tensor] = []
        for module, reads in zip(self.model[:-1], self._reads, strict=True):
            inputs = [maps[i] if maps else x for i in reads]
            maps.append(module(inputs[0] if len(inputs) == 1 else inputs))
        return self.model[-1]([maps[i] for i in LEVELS])

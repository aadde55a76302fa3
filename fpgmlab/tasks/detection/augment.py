"""Pictures with boxes onto a square: letterboxed, or shifted, scaled, mirrored and coloured to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fpgmlab.models.letterbox import GREY, letterbox

VISIBLE = 0.25  # a box that less is left of is dropped
SMALLEST = 2.0  # pixels, of a box's sides

Boxed = tuple[Tensor, Tensor, Tensor]  # image (3, h, w), boxes (n, 4) xyxy in pixels, labels (n,)


def fitted(boxed: Boxed, size: int) -> Boxed:
    """Letterbox a picture and its boxes to a square of ``size`` pixels; a float image from 0 to 255."""
    image, boxes, labels = boxed
    filled, placement = letterbox(image.permute(1, 2, 0).numpy(), size, multiple=1, square=True)
    return torch.from_numpy(filled).permute(2, 0, 1).float(), placement.place(boxes), labels


@dataclass(frozen=True)
class BoxAugment:
    """Light augmentation of a training picture.

    Parameters
    ----------
    flip : float
        Probability that it is mirrored left to right.
    flip_vertical : float
        Probability that it is turned upside down; good for pictures from above.
    scale : float
        It is scaled by up to this share, up or down.
    shift : float
        It is shifted by up to this share of the square, in each direction.
    colour : float
        Brightness, contrast and saturation change by up to this share.
    mosaic : float
        Probability that four pictures share the square, one in each quarter (Bochkovskiy et al., 2020,
        arXiv:2004.10934).

    Raises
    ------
    ValueError
        For numbers that are not from 0 to 1, or 1 for the scale.
    """

    flip: float = 0.5
    flip_vertical: float = 0.0
    scale: float = 0.25
    shift: float = 0.1
    colour: float = 0.2
    mosaic: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int | float) or not 0 <= value <= 1 or (name == "scale" and value == 1):
                raise ValueError(f"{name} must be from 0 to 1{' (not 1)' if name == 'scale' else ''}; got {value!r}")

    def __call__(
        self, boxed: Boxed, size: int, generator: torch.Generator, another: Callable[[], Boxed] | None = None
    ) -> Boxed:
        """Return the picture on a square, a float image from 0 to 255; ``another`` gives others for a mosaic."""
        canvas = torch.full((3, size, size), float(GREY))
        found = []
        if another is not None and _draw(generator) < self.mosaic:
            middle = [round(size * (0.5 + 0.4 * (_draw(generator) - 0.5))) for _ in range(2)]
            x, y = middle
            quarters = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
            for number, quarter in enumerate(quarters):
                found.append(self._put(canvas, boxed if number == 0 else another(), quarter, generator))
        else:
            found.append(self._put(canvas, boxed, (0, 0, size, size), generator))
        boxes, labels = torch.cat([b for b, _ in found]), torch.cat([n for _, n in found])
        for probability, axis in ((self.flip, 2), (self.flip_vertical, 1)):
            if _draw(generator) < probability:
                canvas, boxes = canvas.flip(axis), _mirrored(boxes, size, axis)
        return self._coloured(canvas, generator), boxes, labels

    def _put(
        self, canvas: Tensor, boxed: Boxed, area: tuple[int, int, int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw a picture into an area, scaled and shifted; return the boxes that are still to be seen, and labels."""
        image, boxes, labels = boxed
        height, width = image.shape[1:]
        across, down = area[2] - area[0], area[3] - area[1]
        scale = max(across, down) / max(height, width) * (1 + self.scale * (2 * _draw(generator) - 1))
        left = area[0] + (across - width * scale) / 2 + across * self.shift * (2 * _draw(generator) - 1)
        top = area[1] + (down - height * scale) / 2 + down * self.shift * (2 * _draw(generator) - 1)
        whole = boxes * scale
        seen = _paste(canvas, image, boxes, scale, round(left), round(top), area)
        stay = (_area(seen) >= VISIBLE * _area(whole)) & ((seen[:, 2:] - seen[:, :2]).amin(1) >= SMALLEST)
        return seen[stay], labels[stay]

    def _coloured(self, image: Tensor, generator: torch.Generator) -> Tensor:
        brightness, contrast, saturation = (1 + self.colour * (2 * _draw(generator) - 1) for _ in range(3))
        image = image * brightness
        middle = float(image.numpy().mean(dtype=np.float64))  # not torch's, whose sum depends on the number of threads
        image = (image - middle) * contrast + middle
        grey = image.mean(0, keepdim=True)
        return ((image - grey) * saturation + grey).clamp(0, 255)


def _paste(
    canvas: Tensor, image: Tensor, boxes: Tensor, scale: float, left: int, top: int, area: tuple[int, int, int, int]
) -> Tensor:
    """Draw a scaled picture into an area of a canvas, in place; return its boxes there, clipped to what is seen."""
    height, width = image.shape[1:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    drawn = image[None].float()
    if size != (height, width):
        drawn = F.interpolate(drawn, size, mode="bilinear", align_corners=False, antialias=scale < 1)
    x0, y0 = max(left, area[0]), max(top, area[1])
    x1, y1 = min(left + size[1], area[2]), min(top + size[0], area[3])
    if x1 > x0 and y1 > y0:
        canvas[:, y0:y1, x0:x1] = drawn[0, :, y0 - top : y1 - top, x0 - left : x1 - left]
    moved = boxes * torch.tensor([size[1] / width, size[0] / height]).repeat(2) + torch.tensor([left, top]).repeat(2)
    low, high = torch.tensor([x0, y0]).repeat(2), torch.tensor([max(x0, x1), max(y0, y1)]).repeat(2)
    return moved.clamp(min=low, max=high)


def _mirrored(boxes: Tensor, size: int, axis: int) -> Tensor:
    low = 0 if axis == 2 else 1
    boxes = boxes.clone()
    boxes[:, [low, low + 2]] = size - boxes[:, [low + 2, low]]
    return boxes


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))

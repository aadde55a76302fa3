"""Pictures of any shape fitted to a network's input, with grey around, and boxes mapped there and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

GREY = 114  # what fills the border of a letterboxed picture, as in YOLOv5's training


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in its letterboxed version.

    Attributes
    ----------
    width, height : int
        Of the picture, in pixels.
    scale_x, scale_y : float
        Pixels of the letterboxed version for one of the picture.
    left, top : int
        Where the picture begins.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    def place(self, boxes: Tensor) -> Tensor:
        """Return boxes (n, 4) of the picture, left, top, right, bottom, in the letterboxed version."""
        return boxes * self._scales(boxes) + boxes.new_tensor([self.left, self.top] * 2)

    def restore(self, boxes: Tensor) -> Tensor:
        """Return boxes (n, 4) of the letterboxed version in the picture, cut at its edges."""
        boxes = (boxes - boxes.new_tensor([self.left, self.top] * 2)) / self._scales(boxes)
        return boxes.clamp_min(0).minimum(boxes.new_tensor([self.width, self.height] * 2))

    def _scales(self, boxes: Tensor) -> Tensor:
        return boxes.new_tensor([self.scale_x, self.scale_y] * 2)


def letterbox(
    picture: np.ndarray, size: int = 640, *, multiple: int = 32, square: bool = False, enlarge: bool = True
) -> tuple[np.ndarray, Placement]:
    """Scale a picture so that its longer side is ``size``, and fill up with grey to multiples of ``multiple``.

    Parameters
    ----------
    picture : array, (height, width, 3) uint8
        RGB.
    size : int
        Longer side in pixels; a multiple of ``multiple``.
    multiple : int
        Of height and width: the largest stride of the network.
    square : bool
        Fill up to size times size, so that pictures of different shape make a batch.
    enlarge : bool
        Also scale up a picture that is smaller.

    Returns
    -------
    array, (height, width, 3) uint8
    Placement
        Maps boxes there and back.

    Raises
    ------
    ValueError
        For an array of another shape or kind, and for a size that is not a multiple.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(
            f"a picture must be (height, width, 3) uint8, RGB; got {picture.shape} {picture.dtype}. "
            "PIL.Image.open(path).convert('RGB') makes it so."
        )
    if not isinstance(size, int) or size <= 0 or size % multiple:
        raise ValueError(f"size must be a multiple of {multiple} > 0; got {size!r}")
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    scale = scale if enlarge else min(scale, 1.0)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        pixels = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)[None]
        pixels = F.interpolate(pixels, (new_height, new_width), mode="bilinear", antialias=True)
        picture = pixels[0].permute(1, 2, 0).numpy()
    full = (size, size) if square else tuple(math.ceil(n / multiple) * multiple for n in (new_height, new_width))
    top, left = (full[0] - new_height) // 2, (full[1] - new_width) // 2
    filled = np.full((*full, 3), GREY, np.uint8)
    filled[top : top + new_height, left : left + new_width] = picture
    return filled, Placement(width, height, new_width / width, new_height / height, left, top)

"""Filters as small pictures."""

from __future__ import annotations

import math

import numpy as np

# Okabe & Ito's blue and vermillion, with white between: below zero, zero, above zero.
_BELOW, _ZERO, _ABOVE = (np.array(c, dtype=np.float64) for c in ((0, 114, 178), (250, 250, 250), (213, 94, 0)))
_PIXELS = 2**20  # of all tiles together: what a browser gets in one message
_SIDE = 48


def filter_pictures(filters: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Return a picture of each filter, and in words what it shows.

    Filters of three channels are in colour. Of others with a kernel one sees the mean over the input channels, blue
    below zero and red above. Filters without a kernel (1x1 convolutions, linear layers) have no picture of their own:
    one sees their weights, row by row. All filters share one scale, on which the strongest 1 % are of full colour.

    Parameters
    ----------
    filters : array, (n, dim)
    shape : tuple of int
        Of one filter: (inputs, *kernel).

    Returns
    -------
    pictures : array, (n, height, width, 4)
        uint8 RGBA; transparent where there is no weight.
    words : str
    """
    inputs, kernel = shape[0], tuple(shape[1:])
    weights = filters.reshape(len(filters), *shape)
    if math.prod(kernel) == 1:
        values, words = _wrapped(filters)
        return _diverging(values), f"each tile: the {_count(inputs, 'weight')} row by row, {words}{_COLOURS}"
    flat = weights.mean(axis=tuple(range(2, weights.ndim - 2))) if len(kernel) > 2 else weights
    if len(kernel) == 1:
        flat = flat[:, :, None, :]
    over = ", mean over the kernel's depth" if len(kernel) > 2 else ""
    if inputs == 3:
        return _coloured(flat), f"each tile: the kernel, its 3 input channels as red, green and blue{over}"
    mean = f", mean over the {inputs} input channels" if inputs > 1 else ""
    return _diverging(_thinned(flat.mean(axis=1))), f"each tile: the kernel{mean}{over}, {_COLOURS}"


_COLOURS = "blue below zero, orange above"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _wrapped(filters: np.ndarray) -> tuple[np.ndarray, str]:
    """Return vectors (n, dim) as near-squares (n, rows, columns), NaN where the last row is not full."""
    n, dim = filters.shape
    limit = max(1, min(_SIDE, math.isqrt(_PIXELS // n))) ** 2
    step = max(1, math.ceil(dim / limit))
    picked = filters[:, ::step]
    columns = math.ceil(math.sqrt(picked.shape[1]))
    rows = math.ceil(picked.shape[1] / columns)
    values = np.full((n, rows * columns), np.nan)
    values[:, : picked.shape[1]] = picked
    return values.reshape(n, rows, columns), f"one in {step} of them, " if step > 1 else ""


def _thinned(values: np.ndarray) -> np.ndarray:
    """Return large kernels (n, height, width) at no more than the side that a tile has."""
    return values[:, :: math.ceil(values.shape[1] / _SIDE), :: math.ceil(values.shape[2] / _SIDE)]


def _diverging(values: np.ndarray) -> np.ndarray:
    """Return (n, height, width) as colours on one scale, full at the strongest 1 %; NaN becomes transparent."""
    limit = np.nanquantile(np.abs(values), 0.99) or np.nanmax(np.abs(values)) or 1.0
    share = np.clip(np.nan_to_num(values) / limit, -1, 1)[..., None]
    colours = np.where(share < 0, _ZERO + (_BELOW - _ZERO) * -share, _ZERO + (_ABOVE - _ZERO) * share)
    alpha = np.where(np.isnan(values), 0, 255)[..., None]
    return np.concatenate([colours.round(), alpha], axis=-1).astype(np.uint8)


def _coloured(weights: np.ndarray) -> np.ndarray:
    """Return (n, 3, height, width) as colours, grey where the weights are zero."""
    weights = weights[:, :, :: math.ceil(weights.shape[2] / _SIDE), :: math.ceil(weights.shape[3] / _SIDE)]
    colours = 127.5 + 127.5 * weights / (np.abs(weights).max() or 1.0)
    colours = np.moveaxis(colours.round(), 1, -1)
    return np.concatenate([colours, np.full((*colours.shape[:-1], 1), 255)], axis=-1).astype(np.uint8)

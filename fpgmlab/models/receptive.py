"""Receptive fields: how far a position of a layer's output looks, by formula and as measured by gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fpgmlab.common.holdings import copy_of
from fpgmlab.errors import unknown


def receptive_field_size(layers: Sequence[tuple[int, int, int]]) -> int:
    """Return how many pixels across one position of the last layer's output depends on.

    ``1 + sum of (kernel - 1) * dilation * (product of the strides before)``: a chain of layers, of pooling as well.

    Parameters
    ----------
    layers : sequence of (int, int, int)
        Kernel size, stride and dilation of each, from the input on.

    Examples
    --------
    >>> fl.models.receptive_field_size([(3, 1, 1), (3, 1, 2), (3, 1, 4)])
    15
    """
    size, step = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * step
        step *= stride
    return size


def receptive_field(model: nn.Module, images: Tensor, layer: str | None = None) -> Tensor:
    """Return how much the middle of a layer's output depends on each pixel: the mean absolute gradient.

    Where it is 0 the position does not look, at least at these pictures: a ReLU that is shut passes no gradient, and a
    maximum only that of one pixel. The model is run in eval mode on a copy. After Luo et al., *Understanding the
    effective receptive field in deep convolutional neural networks*, NeurIPS 2016, arXiv:1701.04128.

    Parameters
    ----------
    model : nn.Module
    images : Tensor, (batch, channels, height, width)
    layer : str, optional
        The module whose output is asked; the model's own output when left out. It must have four dimensions.

    Returns
    -------
    Tensor, (height, width)
        Float32, on the CPU.

    Raises
    ------
    ValueError
        For an unknown layer, or one whose output has no positions.

    Examples
    --------
    >>> fl.models.receptive_field(model, torch.rand(2, 1, 28, 28), "layer1").shape
    torch.Size([28, 28])
    """
    model = copy_of(model).eval()
    modules = dict(model.named_modules())
    if layer is not None and layer not in modules:
        raise ValueError(unknown("layer", layer, modules))
    made: list[object] = []
    handle = modules[layer or ""].register_forward_hook(lambda _, given, output: made.append(output))
    pictures = images.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            model(pictures)
    finally:
        handle.remove()
    output = made[-1] if made else None
    if not isinstance(output, Tensor) or output.ndim != 4:
        what = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"{layer or 'the model'!r} must give (batch, channels, height, width); got {what}")
    middle = output[:, :, output.shape[2] // 2, output.shape[3] // 2]  # (batch, channels)
    signs = torch.randn(middle.shape[1], generator=torch.Generator().manual_seed(0)).to(middle)  # none cancel
    (gradient,) = torch.autograd.grad((middle * signs).sum(), pictures)
    return gradient.abs().mean((0, 1)).float().cpu()


def extent(field: Tensor) -> tuple[int, int]:
    """Return how many rows and columns of a field there are from the first pixel that counts to the last."""
    sizes = []
    for dim in (1, 0):
        (there,) = field.abs().amax(dim).nonzero(as_tuple=True)
        sizes.append(int(there[-1] - there[0]) + 1 if len(there) else 0)
    return sizes[0], sizes[1]

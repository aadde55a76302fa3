"""Weights of efficient convolutions that are nearest to a plain one's, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpgmlab.models.convolutions import DepthwiseSeparable, ShuffledGrouped


def rank_one(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the depthwise and pointwise weights whose product is nearest to a kernel, in squared distance.

    For each input channel the kernel of a depthwise-separable convolution is a matrix (outputs, places) of rank one: a
    column of pointwise weights times a row of depthwise ones. The nearest such matrix is that of the largest singular
    value (Eckart & Young, 1936); and as input channels share no weights, all of them together are nearest as well.

    Parameters
    ----------
    kernel : Tensor, (outputs, inputs, height, width)

    Returns
    -------
    depthwise : Tensor, (inputs, 1, height, width)
    pointwise : Tensor, (outputs, inputs, 1, 1)
    """
    inputs, (height, width) = kernel.shape[1], kernel.shape[2:]
    matrices = kernel.transpose(0, 1).flatten(2)  # (inputs, outputs, places)
    left, values, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    root = values[:, :1].sqrt()  # (inputs, 1): both get as much of the scale
    depthwise, pointwise = right[:, 0] * root, left[:, :, 0] * root  # (inputs, places), (inputs, outputs)
    return depthwise.reshape(inputs, 1, height, width).to(kernel), pointwise.T[:, :, None, None].to(kernel)


@torch.no_grad()
def make_nearest(module: nn.Module, conv: nn.Conv2d) -> None:
    """Give an efficient convolution the weights nearest to those of the plain one that it replaces, and its bias."""
    kernel, bias = conv.weight, conv.bias
    if isinstance(module, DepthwiseSeparable):
        depthwise, pointwise = rank_one(kernel)
        module.depthwise.weight.copy_(depthwise)
        module.pointwise.weight.copy_(pointwise)
        last = module.pointwise
    else:
        inner = module.conv if isinstance(module, ShuffledGrouped) else module
        assert isinstance(inner, nn.Conv2d)
        last = inner
        if isinstance(module, ShuffledGrouped):  # filters in the order that they have before the shuffle
            order = torch.arange(len(kernel)).unflatten(0, (-1, last.groups)).T.flatten()
            kernel, bias = kernel[order], None if bias is None else bias[order]
        blocks = kernel.unflatten(0, (last.groups, -1)).unflatten(2, (last.groups, -1))
        last.weight.copy_(torch.cat([blocks[group, :, group] for group in range(last.groups)]))
    if last.bias is not None and bias is not None:
        last.bias.copy_(bias)

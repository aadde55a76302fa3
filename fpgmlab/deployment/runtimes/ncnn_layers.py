"""Single layers in ncnn's own words: its text of a network, and the weights that follow."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.deployment.runtimes.runtime import Weighted

# ncnn's names, without and with groups. Its one-dimensional transposed and three-dimensional ones are left out.
_NAMES = {
    nn.Conv1d: ("Convolution1D", "ConvolutionDepthWise1D"),
    nn.Conv2d: ("Convolution", "ConvolutionDepthWise"),
    nn.ConvTranspose2d: ("Deconvolution", "DeconvolutionDepthWise"),
}
# The keys of its options, of the last dimension (width) and of the one before it (height).
_KERNEL, _DILATION, _STRIDE = (1, 11), (2, 12), (3, 13)
_BEFORE, _BEHIND, _OUTPUT = (4, 14), (15, 16), (18, 19)
_FLOAT32 = np.zeros(1, np.int32).tobytes()  # stands before weights that are kept as they are


def layer_files(layer: Weighted) -> tuple[str, bytes]:
    """Return the text and the weights of a network of one layer, from ``in0`` to ``out0``.

    Raises
    ------
    NotImplementedError
        For kinds of layers that ncnn, or this function, does not have.
    """
    bias = layer.bias
    assert isinstance(bias, Tensor), "a layer to measure has a bias"
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        kind, options = "InnerProduct", {0: layer.out_features, 1: 1, 2: weight.numel()}
    else:
        kind, options = _convolution(layer)
        if layer.transposed:  # (inputs, outputs / groups, ...) -> (outputs, inputs / groups, ...)
            grouped = weight.unflatten(0, (layer.groups, -1))  # (groups, inputs / groups, outputs / groups, ...)
            weight = grouped.transpose(1, 2).flatten(0, 1)
    told = " ".join(f"{key}={value}" for key, value in options.items())
    text = f"7767517\n2 2\nInput in0 0 1 in0\n{kind} layer 1 1 in0 out0 {told}\n"
    numbers = [np.ascontiguousarray(tensor.detach().numpy(), np.float32).tobytes() for tensor in (weight, bias)]
    return text, _FLOAT32 + numbers[0] + numbers[1]


def _convolution(layer: _ConvNd) -> tuple[str, dict[int, int]]:
    names = next((names for kind, names in _NAMES.items() if isinstance(layer, kind)), None)
    if names is None:
        raise NotImplementedError(f"{type(layer).__name__} is not measured in ncnn")
    if isinstance(layer.padding, str):
        same = layer.padding == "same"
        total = [d * (k - 1) * same for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        before, behind = [n // 2 for n in total], [n - n // 2 for n in total]
    else:
        before, behind = list(layer.padding), list(layer.padding)
    sizes = [
        (_KERNEL, layer.kernel_size), (_DILATION, layer.dilation), (_STRIDE, layer.stride), (_BEFORE, before),
        (_BEHIND, behind),
    ]  # fmt: skip
    options = {0: layer.out_channels, 5: 1, 6: layer.weight.numel()}
    for keys, values in [*sizes, (_OUTPUT, layer.output_padding)] if layer.transposed else sizes:
        options |= {key: int(value) for key, value in zip(keys, reversed(list(values)), strict=False)}
    return names[layer.groups > 1], options | ({7: layer.groups} if layer.groups > 1 else {})

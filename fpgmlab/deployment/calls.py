"""The calls of a network's layers with weights, in their order: what a runtime's own nodes are told apart by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode
from fpgmlab.deployment.runtimes.runtime import Weighted
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import PRODUCERS, READERS


@dataclass(frozen=True)
class Call:
    """One call of a convolution or linear layer.

    Attributes
    ----------
    name : str
    weight : tuple of int
        Shape of its weights: (outputs, inputs per group, ...), of transposed ones (inputs, outputs per group, ...).
    inputs, outputs : int
        Channels.
    groups : int
    kind : {"conv", "conv_transpose", "linear"}
    kernel, stride, dilation : tuple of int
        Empty for linear layers.
    size : tuple of int
        Of its input, without batch and channels.
    """

    name: str
    weight: tuple[int, ...]
    inputs: int
    outputs: int
    groups: int
    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def depthwise(self) -> bool:
        """Whether each input channel has filters of its own."""
        return self.groups > 1 and self.groups == self.inputs


def layer_calls(model: nn.Module, names: Sequence[str], example_input: object) -> list[Call]:
    """Return the calls of the named layers in one forward pass, in their order.

    Parameters
    ----------
    model : nn.Module
        In eval mode for the time being, and left as it was.
    names : sequence of str
        Of modules; see `measured_layers`.
    example_input : Tensor, tuple or dict
    """
    modules = dict(model.named_modules())
    calls: list[Call] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: Weighted, inputs: tuple[torch.Tensor, ...]) -> None:
            calls.append(_call(name, module, tuple(inputs[0].shape)))

        return hook

    handles = [modules[name].register_forward_pre_hook(note(name)) for name in names]
    try:
        with torch.no_grad(), left_as_it_is(model), eval_mode(model):
            call(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def measured_layers(graph: ChannelGraph) -> list[str]:
    """Return the convolutions and linear layers that are modules, but not those that take each channel by itself."""
    modules = dict(graph.model.named_modules())
    kinds = (nn.Linear, _ConvNd)
    torchs = [layer.name for layer in graph.layers if layer.kind in PRODUCERS and layer.rule is None]
    return [name for name in torchs if isinstance(modules.get(name), kinds)]


def without_times(graph: ChannelGraph) -> list[str]:
    """Return the layers that can be cut, are none of `measured_layers`, and so have no time of their own."""
    own = set(measured_layers(graph))
    return [
        layer.name for layer in graph.layers if layer.kind in READERS and not layer.depthwise and layer.name not in own
    ]


def _call(name: str, module: Weighted, shape: tuple[int, ...]) -> Call:
    weight = tuple(module.weight.shape)
    if isinstance(module, nn.Linear):
        return Call(name, weight, module.in_features, module.out_features, 1, "linear", (), (), (), shape[1:-1])
    return Call(
        name, weight, module.in_channels, module.out_channels, module.groups,
        "conv_transpose" if module.transposed else "conv", module.kernel_size, module.stride, module.dilation,
        shape[2:],
    )  # fmt: skip

"""What each layer of a network has to do: MACs, and bytes that it moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode

KINDS = (nn.Linear, _ConvNd)


@dataclass(frozen=True)
class Work:
    """What a layer has to do, over all its calls.

    Attributes
    ----------
    macs : int
    bytes : int
        Of what it reads, its weights and what it gives, in float32.
    inputs, outputs : int
        Channels.
    """

    macs: int
    bytes: int
    inputs: int
    outputs: int


def work_of(model: nn.Module, example_input: object) -> dict[str, Work]:
    """Return what each convolution and linear layer does in one forward pass, by its module's name."""
    found: dict[str, Work] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Linear | _ConvNd, given: tuple[Tensor, ...], output: Tensor) -> None:
            one = _work(layer, given[0], output)
            before = found.get(name)
            macs, moved = (before.macs, before.bytes) if before else (0, 0)
            found[name] = Work(one.macs + macs, one.bytes + moved, one.inputs, one.outputs)

        return hook

    handles = [m.register_forward_hook(note(n)) for n, m in model.named_modules() if isinstance(m, KINDS)]
    try:
        with torch.no_grad(), left_as_it_is(model), eval_mode(model):
            call(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _work(layer: nn.Linear | _ConvNd, given: Tensor, output: Tensor) -> Work:
    moved = 4 * (given.numel() + layer.weight.numel() + output.numel())
    if isinstance(layer, nn.Linear):
        return Work(output.numel() * layer.in_features, moved, layer.in_features, layer.out_features)
    # Each weight is used once for each position of the output; of a transposed convolution, of the input.
    positions = (given if layer.transposed else output)[:, 0].numel()
    return Work(positions * layer.weight.numel(), moved, layer.in_channels, layer.out_channels)

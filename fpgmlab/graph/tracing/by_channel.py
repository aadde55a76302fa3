"""Layers that take each channel by itself, or slide along them: linear layers over tokens, ECA's convolution.

What such a layer calls its channels are none that anybody removes. It is not cut, only called less often.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fpgmlab.graph.tracing.labels import varying
from fpgmlab.graph.tracing.layers import LayerRecorder, TracedLayer, owner_of
from fpgmlab.graph.tracing.reductions import SLIDING, runs_over

_KIND = "by_channel"


def takes_each(to: LayerRecorder, name: str, args: tuple, kwargs: dict, out: Tensor) -> bool:
    """Tell whether a convolution or linear layer takes each channel by itself, or slides along them; record it then.

    Parameters
    ----------
    to : LayerRecorder
    name : str
        Of the torch function.
    args, kwargs : tuple, dict
        What it was given.
    out : Tensor
        What it gave.
    """
    if name != "linear" and name not in SLIDING:
        return False
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    tensor, label = given["input"], to.get(given["input"])
    owner = owner_of(to, [given["weight"]], nn.Linear if name == "linear" else nn.modules.conv._ConvNd)
    if owner is None:
        return False
    known = to.known(owner)
    own = tensor.ndim - 1 - (0 if name == "linear" else int(name[4]))  # the dimension of the layer's own channels
    dim = None if label is None else _other_dim(label, own)
    if label is None or dim is None or (known is not None and known.kind != _KIND):
        if known is not None and known.kind == _KIND:
            _takes_others(to, known)
        return False
    channels = label.numel()
    if dim > own:
        if out.shape[dim] != tensor.shape[dim] or any(step != 1 for step in _stride(to, owner)):
            return False
        runs_over(to, label.reshape(-1), dim)
    to.spend(pytree.tree_leaves((args[3:], kwargs)), repr(name))
    positions = out.numel() // out.shape[own] // to.batch // channels
    numbers = given["weight"].numel() * channels
    to.record(TracedLayer(owner, _KIND, label.reshape(-1).numpy(), positions=positions, numbers=numbers))
    to.put(out, label)
    return True


def _stride(to: LayerRecorder, owner: str) -> tuple[int, ...]:
    return cast("nn.Conv2d", to.modules[owner]).stride


def _other_dim(label: Tensor, own: int) -> int | None:
    """Return the dimension along which the channels lie, when it is one and not the layer's.

    It may be that of the examples, where heads were put into one batch.
    """
    spread = varying(label)
    return spread[0] if len(spread) == 1 and spread[0] != own else None


def _takes_others(to: LayerRecorder, known: TracedLayer) -> None:
    """A layer that took each channel by itself now takes its own: nobody cuts it, and the first use is paid for."""
    to.freeze(torch.from_numpy(known.outputs), f"{known.name!r} is used in two ways")
    to.add_macs(known.positions * known.numbers)
    to.forget(known.name)

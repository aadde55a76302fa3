"""Convolutions that standardise their weight in each call, as in NFNets and BiT: each filter by what it reads.

``F.batch_norm(weight.reshape(1, filters, -1), None, None, gain, training=True)``: mean and spread of a filter run over
the channels that it reads, and after a cut over those that stay.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from fpgmlab.common.modules import split_name
from fpgmlab.graph.running import Place
from fpgmlab.graph.tracing.reductions import Reducing, runs_over

_SHAPING = frozenset({"reshape", "view", "reshape_as", "view_as"})


class _Derived(NamedTuple):
    owner: str  # the convolution whose weight it was
    place: Place | None  # where it was standardised
    gain: Tensor | None  # labels of what each filter was multiplied with


class Computing(Reducing, Protocol):
    """What is asked of the tracer here on top of `fpgmlab.graph.tracing.reductions.Reducing`."""

    modules: dict[str, nn.Module]

    def name_of(self, tensor: Tensor | None) -> str | None: ...
    def current_module(self) -> str: ...


class Standardised:
    """Follows weights of convolutions through their standardisation."""

    def __init__(self) -> None:
        self._derived = WeakTensorKeyDictionary()

    def owner(self, weight: Tensor) -> str | None:
        """Return the convolution whose standardised weight a tensor is; None of another tensor."""
        found = self._derived.get(weight)
        whole = found is not None and found.place is not None and weight.ndim > 3
        return found.owner if whole else None

    def follow(self, to: Computing, name: str, args: tuple, kwargs: dict, out: object) -> str | None:
        """Return the convolution whose weight an operation brings one step further, None for another operation."""
        if not args or not isinstance(args[0], Tensor) or not isinstance(out, Tensor):
            return None
        found = self._derived.get(args[0])
        if found is None:
            found = self._begun(to, name, args[0], out)
        elif name == "batch_norm" and found.place is None:
            found = self._standardised(to, found, args, kwargs)
        elif name not in _SHAPING or found.place is None or out.shape != self._weight(to, found.owner).shape:
            return None
        if found is None:
            return None
        self._derived[out] = found
        return found.owner

    def enter(self, to: Computing, weight: Tensor, inputs: Tensor, outputs: Tensor) -> None:
        """Note what a convolution with a standardised weight runs over, and whose its gain is.

        Parameters
        ----------
        to : Computing
        weight : Tensor
            Any; nothing is noted for one that was not standardised.
        inputs, outputs : Tensor
            Labels of the convolution's channels.
        """
        found = self._derived.get(weight)
        if found is None:
            return
        if found.gain is not None:
            to.tie(found.gain, outputs)
        if weight.shape[1] > 1:  # else each filter reads one channel
            to.place = found.place
            runs_over(to, inputs.repeat_interleave(weight[0, 0].numel()), 2)

    def _weight(self, to: Computing, owner: str) -> Tensor:
        weight = to.modules[owner].weight
        assert isinstance(weight, Tensor)
        return weight

    def _begun(self, to: Computing, name: str, weight: Tensor, out: Tensor) -> _Derived | None:
        owner, key = split_name(to.name_of(weight) or "")
        module = to.modules.get(owner) if key == "weight" and owner == to.current_module() else None
        if name not in _SHAPING or not isinstance(module, nn.Conv2d):
            return None
        return _Derived(owner, None, None) if out.shape == (1, len(weight), weight[0].numel()) else None

    def _standardised(self, to: Computing, found: _Derived, args: tuple, kwargs: dict) -> _Derived | None:
        order = ("input", "running_mean", "running_var", "weight", "bias", "training")
        given = dict(zip(order, args, strict=False)) | kwargs
        others = [given.get(key) for key in ("running_mean", "running_var", "bias")]
        if any(other is not None for other in others) or not given.get("training"):
            return None
        gain = given.get("weight")
        label = None if gain is None else to.get(gain)
        if gain is not None and (label is None or label.numel() != len(self._weight(to, found.owner))):
            return None
        return _Derived(found.owner, to.place, None if label is None else torch.clone(label.reshape(-1)))

"""Which batch norm alone reads what a layer gives."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.following import Following


class _Reading(Following):
    """Notes what reads the outputs of layers: the names of batch norms, None for all others."""

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        super().__init__(model, layers)
        norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
        self._norms = {id(m.running_mean): n for n, m in norms.items() if m.running_mean is not None}
        self._made: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self.calls: dict[str, int] = {}
        self.norm_calls: dict[str, int] = {}
        self.readers: dict[str, list[str | None]] = {}

    def enter(self, layer: str, call: LayerCall) -> None:
        """Before a layer is called."""
        self._read(call.input, None)

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        """After a layer was called."""
        self._made[id(out)] = weakref.ref(out), layer
        self.calls[layer] = self.calls.get(layer, 0) + 1

    def other(self, name: str, args: tuple, kwargs: dict, out: object) -> None:
        """After any other torch function."""
        if isinstance(out, (Tensor, tuple, list)):
            mean = kwargs.get("running_mean", args[1] if name == "batch_norm" and len(args) > 1 else None)
            norm = self._norms.get(id(mean))
            if norm is not None:
                self.norm_calls[norm] = self.norm_calls.get(norm, 0) + 1
            for tensor in tensors_in((args, kwargs)):
                self._read(tensor, norm)

    def _read(self, tensor: Tensor, norm: str | None) -> None:
        made, layer = self._made.get(id(tensor), (None, ""))
        if made is not None and made() is tensor:
            self.readers.setdefault(layer, []).append(norm)


@torch.no_grad()
def norms_after(model: nn.Module, layers: Sequence[str], inputs: object) -> dict[str, str]:
    """Return, by layer, the name of the batch norm that reads its output, where nothing else does.

    Parameters
    ----------
    model : nn.Module
        Run once in eval mode, and left as it is.
    layers : sequence of str
        Names of convolutions and linear layers.
    inputs : Tensor, tuple or dict
        As for `fpgmlab.trace`.
    """
    reading = _Reading(model, layers)
    with eval_mode(model), left_as_it_is(model), reading:
        call_model(model, on_device(inputs, device_of(model)))
    found = {n: read[0] for n, read in reading.readers.items() if len(read) == 1 and reading.calls[n] == 1}
    return {layer: norm for layer, norm in found.items() if norm is not None and reading.norm_calls[norm] == 1}

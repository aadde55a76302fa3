"""Torch functions of a forward pass, numbered, and among them the calls of some layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fpgmlab.common.modules import tensor_of
from fpgmlab.graph.calls import LayerCall, is_layer, layer_call


class Following(TorchFunctionMode):
    """Tells of what a model does while it runs; what is done with it is for subclasses to say.

    Parameters
    ----------
    model : nn.Module
    layers : sequence of str
        Names of convolutions and linear layers. Of layers with one weight, the first one's name is told.

    Attributes
    ----------
    number : int
        Of the torch function that is running, from 0.
    names : list of str
        Of all of them.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        self._layers = {id(tensor_of(modules[name], "weight")): name for name in reversed(layers)}
        self.number = -1
        self.names: list[str] = []

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        self.number += 1
        self.names.append(name)
        call = layer_call(name, args, kwargs) if is_layer(name) else None
        layer = None if call is None else self._layers.get(id(call.weight))
        if call is None or layer is None:
            out = func(*args, **kwargs)
            self.other(name, args, kwargs, out)
        else:
            self.enter(layer, call)
            out = func(*args, **kwargs)
            self.leave(layer, call, out)
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.made(tensor)
        return out

    def enter(self, layer: str, call: LayerCall) -> None:
        """Before a layer is called."""

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        """After a layer was called."""

    def other(self, name: str, args: tuple, kwargs: dict, out: object) -> None:
        """After any other torch function, such as ``"relu"``; also those that only ask, such as for a shape."""

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""

"""What a forward pass makes, numbered, and among it the calls of some layers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fpgmlab.common.modules import tensor_of, tensors_in
from fpgmlab.graph.calls import LayerCall, is_layer, layer_call


class Following(TorchFunctionMode):
    """Tells of what a model does while it runs; what is done with it is for subclasses to say.

    Parameters
    ----------
    model : nn.Module
    layers : sequence of str
        Names of convolutions and linear layers. Of layers with one weight, the first one's name is told.
    inputs : object
        What the model is called with.

    Attributes
    ----------
    number : int
        Of the tensor that is being made, from 0, among those that the inputs or the layers have a part in; -1 of
        another one. What follows from parameters alone may be made in one pass and remembered for the next, as
        attention biases often are: the numbers are the same in both.
    names : list of str
        Of the torch function that made each of them.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], inputs: object = ()) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        self._layers = {id(tensor_of(modules[name], "weight")): name for name in reversed(layers)}
        self._flowing = {id(tensor): weakref.ref(tensor) for tensor in tensors_in(inputs)}
        self._count = 0
        self.number = -1
        self.names: list[str] = []

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        call = layer_call(name, args, kwargs) if is_layer(name) else None
        layer = None if call is None else self._layers.get(id(call.weight))
        flows = layer is not None or any(self._flows(tensor) for tensor in tensors_in((args, kwargs)))
        self.number = self._count if flows else -1
        if call is None or layer is None:
            out = func(*args, **kwargs)
            self.other(name, args, kwargs, out)
        else:
            self.enter(layer, call)
            out = func(*args, **kwargs)
            self.leave(layer, call, out)
        if flows and name == "setitem":
            self._flowing[id(args[0])] = weakref.ref(args[0])
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                if flows:
                    self._flowing[id(tensor)] = weakref.ref(tensor)
                    self.number, self._count = self._count, self._count + 1
                    self.names.append(name)
                self.made(tensor)
        return out

    def _flows(self, tensor: Tensor) -> bool:
        """Tell whether the inputs or the layers have a part in a tensor."""
        ref = self._flowing.get(id(tensor))
        return ref is not None and ref() is tensor

    def enter(self, layer: str, call: LayerCall) -> None:
        """Before a layer is called."""

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        """After a layer was called."""

    def other(self, name: str, args: tuple, kwargs: dict, out: object) -> None:
        """After any other torch function, such as ``"relu"``; also those that only ask, such as for a shape."""

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""

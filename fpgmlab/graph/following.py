"""What a forward pass makes, numbered, and among it the calls of some layers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from fpgmlab.common.modules import tensor_of, tensors_in
from fpgmlab.graph.calls import LayerCall, is_layer, layer_call
from fpgmlab.graph.projections import in_its_layers, parts, place_of
from fpgmlab.graph.tracing.attention import OPERATION


class Following(TorchFunctionMode):
    """Tells of what a model does while it runs; what is done with it is for subclasses to say.

    torch's own attention, one function otherwise, is told of as what it consists of.

    Parameters
    ----------
    model : nn.Module
    layers : sequence of str
        Names of convolutions, linear layers and the parts of attentions' projections, as
        `fpgmlab.graph.projections.names_of` gives them. Of layers with one weight, the first one's name is told.
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
        self._layers: dict[int, str] = {}
        self._thirds: dict[int, tuple[Tensor, ...]] = {}  # of weights that hold several layers
        for name in reversed(layers):
            module, part = place_of(modules, name)
            weight = tensor_of(module, "weight" if part is None else "in_proj_weight")
            if part is not None:
                weight = self._thirds.setdefault(id(weight), parts(weight))[part]
            self._layers[id(weight)] = name
        self._flowing = {id(tensor): weakref.ref(tensor) for tensor in tensors_in(inputs)}
        self._count = 0
        self.number = -1
        self.names: list[str] = []

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        if name == OPERATION and isinstance(func, FunctionType):
            with self:
                return in_its_layers(func, self._project)(*args, **kwargs)
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

    def _project(self, query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None) -> list[Tensor]:
        """Return an attention's queries, keys and values, each by a linear layer of its own."""
        weights = self._thirds.get(id(weight)) or weight.chunk(3)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return [F.linear(*given) for given in zip((query, key, value), weights, biases, strict=True)]

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

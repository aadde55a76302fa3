"""What follows a layer: the batch norm that alone reads it, the sum that it ends in, its activation."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fpgmlab.common.modules import tensors_in
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.following import Following
from fpgmlab.recovery.repairing.activations import Activation, activation

_SUMS = frozenset({"add", "iadd", "radd"})


@dataclass(frozen=True)
class After:
    """What follows a layer.

    Attributes
    ----------
    norm : str or None
        The batch norm that reads its output, when nothing else does.
    total : int or None
        The tensor, by number, that its output (normalised, where there is a norm) and what is there before the layer
        runs are summed to; see `Following`.
    other : int or None
        What it is summed with, by number.
    activation : Activation or None
        Through which that goes next, and nothing else reads it.
    order : tuple of int
        How to permute the sum and what it is summed with to the order of dimensions of the layer's own output; empty
        where they have it.
    """

    norm: str | None = None
    total: int | None = None
    other: int | None = None
    activation: Activation | None = None
    order: tuple[int, ...] = ()

    def in_order(self, made: Tensor) -> Tensor:
        """Return the sum, or what it is summed with, with the dimensions as the layer has them."""
        return made.permute(self.order) if self.order else made


@dataclass(eq=False)
class _Value:
    """What a layer has made, as it is, normalised or summed."""

    layer: str
    ref: weakref.ref[Tensor]
    version: int
    stage: str  # "made", "normed" or "summed"
    reads: list[str]  # the functions that took it, also as another view
    order: tuple[int, ...] | None = None  # as in `After`, of another view than the layer made


@dataclass(eq=False)
class _Found:
    """What was seen of one layer."""

    there: dict[int, int]  # versions of all that was there when it began, by number
    linear: bool
    calls: int = 1
    values: dict[str, _Value] = field(default_factory=dict)  # by stage
    norm: str = ""
    sum: tuple[int, int] = (-1, -1)
    order: tuple[int, ...] = ()  # of the sum
    activations: dict[str, Activation] = field(default_factory=dict)  # by the stage that they take


class Looking(Following):
    """Finds out in one forward pass of a model in eval mode what follows each layer; see `After`."""

    def __init__(self, model: nn.Module, layers: Sequence[str], inputs: object = ()) -> None:
        super().__init__(model, layers, inputs)
        norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
        self._norms = {id(m.running_mean): n for n, m in norms.items() if m.running_mean is not None}
        self._norm_calls: dict[str, int] = {}
        self._found: dict[str, _Found] = {}
        self._values: dict[int, _Value] = {}
        self._made: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._there: dict[int, int] = {}

    def found(self) -> Mapping[str, After]:
        """Return what follows each layer that was called, in the order of their first calls."""
        return {layer: self._after(found) for layer, found in self._found.items()}

    def _after(self, found: _Found) -> After:
        if found.calls > 1:
            return After()
        reads = {stage: len(value.reads) for stage, value in found.values.items()}
        normed = "normed" in reads and reads["made"] == 1 and self._norm_calls[found.norm] == 1
        norm = found.norm if normed else None
        before = "normed" if normed else "made"
        summed = "summed" in reads and reads[before] == 1 and (normed or "normed" not in reads)
        last = "summed" if summed else before
        total, other = found.sum if summed else (None, None)
        last_activation = found.activations.get(last) if reads[last] == 1 else None
        return After(norm, total, other, last_activation, found.order if summed else ())

    def enter(self, layer: str, call: LayerCall) -> None:
        """Before a layer is called."""
        self._read(call.input)
        self._made = {key: entry for key, entry in self._made.items() if entry[0]() is not None}
        there = ((ref(), number) for ref, number in self._made.values())
        self._there = {number: tensor._version for tensor, number in there if tensor is not None}

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        """After a layer was called."""
        if layer in self._found:
            self._found[layer].calls += 1
        else:
            self._found[layer] = _Found(self._there, not call.rank)
            self._keep(layer, out, "made")

    def other(self, name: str, args: tuple, kwargs: dict, out: object) -> None:
        """After any other torch function."""
        if not isinstance(out, (Tensor, tuple, list)):
            return  # a question, such as one for the shape
        given = list(tensors_in((args, kwargs)))
        if isinstance(out, Tensor) and len(given) == 1 and self._viewed(given[0], out):
            return
        values = [self._value(tensor, written=tensor is out) for tensor in given]
        for value in values:
            if value is not None:
                value.reads.append(name)
        first = values[0] if values and (values[0] is None or values[0].order is None) else None
        if not isinstance(out, Tensor):
            return
        if name == "batch_norm":
            norm = self._norms.get(id(kwargs.get("running_mean", args[1] if len(args) > 1 else None)))
            if norm is not None:
                self._norm_calls[norm] = self._norm_calls.get(norm, 0) + 1
                if first is not None and first.stage == "made":
                    self._found[first.layer].norm = norm
                    self._keep(first.layer, out, "normed")
        elif name in _SUMS and len(given) == 2 and not kwargs and given[0].shape == given[1].shape:
            self._summed(given, values, out)
        elif first is not None and (found := activation(name, args, kwargs)) is not None:
            self._found[first.layer].activations[first.stage] = found

    def _viewed(self, tensor: Tensor, out: Tensor) -> bool:
        """Note another view of what a linear layer made, channels last; tell whether it is one."""
        value = self._value(tensor)
        if value is None or value.stage != "made" or not self._found[value.layer].linear or out is tensor:
            return False
        same = out.data_ptr() == tensor.data_ptr() and out.dtype == tensor.dtype and out.numel() == tensor.numel()
        if not same or not out.ndim or out.shape[-1] != tensor.shape[-1]:
            return False
        strides = out.stride()
        order = tuple(sorted(range(out.ndim), key=lambda dim: (out.shape[dim] > 1, -strides[dim])))
        if order[-1] != out.ndim - 1 or not out.permute(order).is_contiguous():
            return False
        self._values[id(out)] = replace(value, ref=weakref.ref(out), order=order)
        return True

    def _summed(self, given: list[Tensor], values: list[_Value | None], out: Tensor) -> None:
        for mine, value, other in ((given[0], values[0], given[1]), (given[1], values[1], given[0])):
            ref, number = self._made.get(id(other), (None, -1))
            if value is None or value.stage == "summed" or ref is None or ref() is not other or mine is other:
                continue
            found = self._found[value.layer]
            # There before the layer began, and nothing has written over it since.
            if found.there.get(number) == other._version - (other is out):
                found.sum, found.order = (self.number, number), value.order or ()
                self._keep(value.layer, out, "summed")
                return

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""
        if self.number >= 0:
            self._made[id(tensor)] = (weakref.ref(tensor), self.number)

    def _keep(self, layer: str, tensor: Tensor, stage: str) -> None:
        value = _Value(layer, weakref.ref(tensor), tensor._version, stage, [])
        self._found[layer].values[stage] = self._values[id(tensor)] = value

    def _value(self, tensor: Tensor, written: bool = False) -> _Value | None:
        """Return what a tensor holds; None when something has written over it."""
        value = self._values.get(id(tensor))
        if value is None or value.ref() is not tensor or tensor._version - written != value.version:
            return None
        return value

    def _read(self, tensor: Tensor) -> None:
        value = self._value(tensor)
        if value is not None:
            value.reads.append("layer")

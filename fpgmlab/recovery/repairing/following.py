"""What follows a layer: the batch norm that alone reads it, the sum that it ends in, its activation."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    """

    norm: str | None = None
    total: int | None = None
    other: int | None = None
    activation: Activation | None = None


@dataclass(eq=False)
class _Value:
    """What a layer has made, as it is, normalised or summed."""

    layer: str
    ref: weakref.ref[Tensor]
    version: int
    stage: str  # "made", "normed" or "summed"
    reads: int = 0


@dataclass(eq=False)
class _Found:
    """What was seen of one layer."""

    there: dict[int, int]  # versions of all that was there when it began, by number
    calls: int = 1
    values: dict[str, _Value] = field(default_factory=dict)  # by stage
    norm: str = ""
    sum: tuple[int, int] = (-1, -1)
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
        reads = {stage: value.reads for stage, value in found.values.items()}
        normed = "normed" in reads and reads["made"] == 1 and self._norm_calls[found.norm] == 1
        norm = found.norm if normed else None
        before = "normed" if normed else "made"
        summed = "summed" in reads and reads[before] == 1 and (normed or "normed" not in reads)
        last = "summed" if summed else before
        total, other = found.sum if summed else (None, None)
        return After(norm, total, other, found.activations.get(last) if reads[last] == 1 else None)

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
            self._found[layer] = _Found(self._there)
            self._keep(layer, out, "made")

    def other(self, name: str, args: tuple, kwargs: dict, out: object) -> None:
        """After any other torch function."""
        if not isinstance(out, (Tensor, tuple, list)):
            return  # a question, such as one for the shape
        given = list(tensors_in((args, kwargs)))
        values = [self._value(tensor, written=tensor is out) for tensor in given]
        for value in values:
            if value is not None:
                value.reads += 1
        first = values[0] if values else None
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

    def _summed(self, given: list[Tensor], values: list[_Value | None], out: Tensor) -> None:
        for mine, value, other in ((given[0], values[0], given[1]), (given[1], values[1], given[0])):
            ref, number = self._made.get(id(other), (None, -1))
            if value is None or value.stage == "summed" or ref is None or ref() is not other or mine is other:
                continue
            found = self._found[value.layer]
            # There before the layer began, and nothing has written over it since.
            if found.there.get(number) == other._version - (other is out):
                found.sum = (self.number, number)
                self._keep(value.layer, out, "summed")
                return

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""
        if self.number >= 0:
            self._made[id(tensor)] = (weakref.ref(tensor), self.number)

    def _keep(self, layer: str, tensor: Tensor, stage: str) -> None:
        value = _Value(layer, weakref.ref(tensor), tensor._version, stage)
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
            value.reads += 1

"""What numbers of channels are used for: those that a model's code reads from shapes, and those in its attributes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from fpgmlab.common.modules import named_tensors
from fpgmlab.graph.tracing.attributes import Attribute, Combined, Derived
from fpgmlab.graph.tracing.labels import ELEMENTWISE
from fpgmlab.graph.tracing.layers import CONVOLUTIONS, TracedLayer
from fpgmlab.graph.tracing.movement import SIZED
from fpgmlab.graph.tracing.picking import PICKING
from fpgmlab.graph.tracing.reasons import OWN_SIZE
from fpgmlab.graph.tracing.shapes import in_runs
from fpgmlab.graph.tracing.trace import Trace
from fpgmlab.graph.tracing.widths import Width

_NORMED = frozenset({"layer_norm", "rms_norm"})
_SIZED_BY_OWN = _NORMED | {"split"}  # what may be told the number of the very channels that it takes


class Counting(ABC):
    """The part of `fpgmlab.graph.tracing.recorder.TraceRecorder` that is told of numbers."""

    def __init__(self, model: nn.Module) -> None:
        self.trace = Trace()
        self.names = named_tensors(model)
        self.reserved: dict[str, Tensor] = {}  # labels of a model's tensor whose size the code asked for
        # Of attributes, by name and place: what the number is used for beside counting channels.
        self._waiting: list[tuple[Width, str]] = []
        self._settled: set[tuple] = set()
        self.spent: dict[tuple[str, int], str] = {}

    @abstractmethod
    def get(self, tensor: Tensor) -> Tensor | None: ...

    @abstractmethod
    def record(self, layer: TracedLayer) -> None: ...

    @abstractmethod
    def freeze_ids(self, ids: np.ndarray, reason: str, remedy: str = "") -> None: ...

    def count(self, ids: np.ndarray, attribute: Attribute) -> bool:
        """Note that an attribute of a module counts some channels, for a cut to write a new number.

        A number worked out from an attribute counts them where the attribute counts them ``over`` times; of ``times``
        parts, which stay equally many, it counts each; of heads that have ``times`` channels, the heads. Return
        whether there are so many.
        """
        if len(ids) != int.__index__(attribute):
            return False
        if isinstance(attribute, Combined):
            return self._count_together(ids, attribute)
        if isinstance(attribute.times, Attribute) and in_runs(ids, int.__index__(attribute.attribute)):
            attribute = Derived.by(attribute.times, attribute.attribute, attribute.over)
        factors = [n for n in (attribute.times, attribute.over) if isinstance(n, Attribute)]
        self.spend(factors, f"what is worked out from {attribute.name!r}")  # each stays what it is
        times, over = int.__index__(attribute.times), int.__index__(attribute.over)
        if times > 1 and in_runs(ids, times):
            ids = ids[::times]
        elif times > 1:
            parts = np.split(ids, times)
            self.trace.parts.append(parts)
            ids = parts[0]
        self.trace.suspect = True  # what else may be done with it is held against cut networks
        self.record(TracedLayer(attribute.name, "number", outputs=np.tile(ids, over), dim=attribute.place))
        return True

    def _count_together(self, ids: np.ndarray, number: Combined) -> bool:
        """Note that numbers together count some channels, of which all but one count some by themselves already."""
        plus, minus = ([self._counted_by(n) for n in side] for side in (number.plus, number.minus))
        more, less = ([labels for labels in side if labels is not None] for side in (plus, minus))
        missing = [n for n, labels in zip(number.plus, plus, strict=True) if labels is None]
        if len(missing) > 1 or len(less) < len(minus):
            return False
        every = np.concatenate([ids, *less])
        if not missing:
            self.trace.parts.append([every, np.concatenate(more)])
            return True
        rest = _without(every, more)
        return rest is not None and self.count(rest, missing[0])

    def _counted_by(self, number: Attribute) -> np.ndarray | None:
        """Return channels that a number counts, None where none are known."""
        layer = self.trace.layers.get(f"{number.name}[{number.place}]")
        times, over = (int.__index__(n) for n in (number.times, number.over))
        if layer is None or isinstance(number.times, Attribute) or times < 1 or over != 1:
            return None
        return np.tile(layer.outputs, times)

    def wait(self, size: Width, reason: str) -> None:
        """Note that code calculates with a size of heads; what it relies on is known at the end."""
        self._waiting.append((size, reason))

    def settle(self, size: Width) -> None:
        """Note that a size of heads stays what it is: as many channels go as heads."""
        self._settled.add(_key(size))

    def freeze_unsettled(self) -> None:
        """Freeze what was calculated with a size of heads that would be another one after a cut."""
        for size, reason in self._waiting:
            if _key(size) not in self._settled:
                self.spend([size], "a calculation")
                self.freeze_ids(size.ids, reason)

    def spend(self, leaves: Sequence[object], use: str) -> None:
        """Note what attributes' numbers are used for beside counting channels."""
        for leaf in leaves:
            number = leaf.by if isinstance(leaf, Width) else leaf
            for source in number.sources if isinstance(number, Attribute) else ():
                self.spent.setdefault((source.name, source.place), use)

    def check_numbers(self, name: str, numbers: Sequence[Width | Attribute], inputs: Sequence[Tensor]) -> None:
        """A number of channels may shape the tensor that it was read from; anything else relies on it."""
        labels = [self.get(tensor) for tensor in inputs]
        if (name in SIZED or name in PICKING or name in CONVOLUTIONS) and any(label is not None for label in labels):
            return  # the rule looks what they say
        self.spend(numbers, repr(name))
        if name in _NORMED:  # over as many channels as its weight has
            labels += [self.reserved.get(self.names.get(id(tensor), "")) for tensor in inputs]
        for width in (number for number in numbers if isinstance(number, Width)):
            own = any(label is not None and np.isin(width.ids, label.numpy()).all() for label in labels)
            if not own or name not in _SIZED_BY_OWN:
                does = "enters a calculation" if name in ELEMENTWISE else "shapes another tensor"
                self.freeze_ids(width.ids, f"its number of channels {does} through {name!r}", OWN_SIZE)


def _without(ids: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return labels without those of some parts, None where they are not all among them."""
    left = ids
    for each in np.concatenate([*parts, ids[:0]]):
        places = np.flatnonzero(left == each)
        if not len(places):
            return None
        left = np.delete(left, places[0])
    return left


def _key(size: Width) -> tuple[str, int, bytes]:
    assert size.by is not None
    return size.by.name, size.by.place, size.ids.tobytes()

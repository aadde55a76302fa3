"""What was computed over channels and has none itself.

A pruned network computes it over the channels that stay. It may enter anything there but a decision of the model's own
code, which tracing has seen to go one way only; and where it says which channel it was (``max(x, dim)`` gives places
as well), nobody may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from fpgmlab.graph.tracing.labels import ALONG, ELEMENTWISE, REDUCTION, UNARY, words
from fpgmlab.graph.tracing.movement import MOVEMENT
from fpgmlab.graph.tracing.reasons import STAY_TENSOR

_FOLLOWED = UNARY | ELEMENTWISE | MOVEMENT | REDUCTION | ALONG
_LEAVES = words("bool item float int index tolist numpy complex nonzero")  # a number that the model's code may look at


class _Origin(NamedTuple):
    ids: np.ndarray  # the channels that it was computed over
    places: bool  # whether it says which of them


class Reduced:
    """Follows what was computed over channels, until it enters a layer.

    Parameters
    ----------
    freeze : callable
        Takes channels, the reason why they must not be cut, and what would free them.
    """

    def __init__(self, freeze: Callable[..., None]) -> None:
        self._freeze = freeze
        self._origins = WeakTensorKeyDictionary()

    def __bool__(self) -> bool:
        return len(self._origins) > 0

    def add(self, tensor: Tensor, ids: np.ndarray, places: bool) -> None:
        """Note that a tensor was computed over channels, or tells which ``places`` among them."""
        self._origins[tensor] = _Origin(ids, places)

    def follow(self, name: str, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Follow through an operation, by name, to results without channels."""
        for origin in [self._origins.get(tensor) for tensor in inputs]:
            if origin is None:
                continue
            if origin.places:
                self._freeze(origin.ids, f"{name!r} takes some of its channels by value")
            elif not results and name in _LEAVES:
                self._freeze(
                    origin.ids, f"a value over its channels becomes a plain number through {name!r}", STAY_TENSOR
                )
            elif name in _FOLLOWED:
                for result in results:
                    self._origins[result] = origin

    def freeze_places(self, output: Tensor, reason: str) -> None:
        """Freeze the channels of which a model's output tells some by their number."""
        origin = self._origins.get(output)
        if origin is not None and origin.places:
            self._freeze(origin.ids, reason)

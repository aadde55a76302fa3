"""Distillation in a training, by what is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.recovery.extras.distilling.distances import attention_difference, relative_square
from fpgmlab.recovery.extras.distilling.matching import Pair
from fpgmlab.recovery.extras.distilling.teacher import Teacher
from fpgmlab.recovery.extras.distilling.watching import Watching
from fpgmlab.recovery.extras.extra import RunningExtra


class OutputsDistilled(RunningExtra):
    """A student's outputs compared with its teacher's."""

    def __init__(self, teacher: Teacher, distance: Callable[[Any, Any], Tensor], weight: float) -> None:
        self._teacher, self._distance, self._weight = teacher, distance, weight

    def loss(self, model: nn.Module, inputs: object, outputs: object, targets: object) -> Tensor:
        return self._weight * self._distance(outputs, self._teacher(inputs)[0])

    def end(self) -> None:
        self._teacher.end()


class LayersDistilled(RunningExtra):
    """The outputs of a student's layers compared with those of its teacher's.

    Parameters
    ----------
    model : nn.Module
        The student.
    teacher : Teacher
    pairs : sequence of Pair
    weight : float
    attention : bool
        Compare where they look, not what they say.
    """

    def __init__(
        self, model: nn.Module, teacher: Teacher, pairs: Sequence[Pair], weight: float, attention: bool = False
    ) -> None:
        self._teacher, self._weight, self._attention = teacher, weight, attention
        self.pairs = tuple(pairs)
        self.adapters = nn.ModuleDict({str(i): p.adapter for i, p in enumerate(pairs) if p.adapter is not None})
        teacher.watch(*(pair.teacher for pair in pairs))
        self._watching = Watching(model, [pair.student for pair in pairs])

    def loss(self, model: nn.Module, inputs: object, outputs: object, targets: object) -> Tensor:
        _, theirs = self._teacher(inputs)
        mine = self._watching.take()
        for whose, seen, names in (
            ("student", mine, [pair.student for pair in self.pairs]),
            ("teacher", theirs, [pair.teacher for pair in self.pairs]),
        ):
            if missing := [name for name in names if name not in seen]:
                raise ValueError(
                    f"layer {missing[0]!r} of the {whose} did not run, or without gradients: distil others"
                )
        return (
            self._weight
            * torch.stack([self._distance(p, mine[p.student], theirs[p.teacher]) for p in self.pairs]).mean()
        )

    def _distance(self, pair: Pair, features: Tensor, wanted: Tensor) -> Tensor:
        if self._attention:
            return attention_difference(features, wanted, pair.dim)
        if pair.index is not None:
            wanted = wanted.index_select(pair.dim, pair.index)
        return relative_square(features if pair.adapter is None else pair.adapter(features), wanted)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.adapters.parameters()

    def state_dict(self) -> dict[str, Any]:
        return self.adapters.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.adapters.load_state_dict(state)

    def end(self) -> None:
        self._watching.end()
        self._teacher.end()

"""How far a network in INT8 is from the float one: by the task's metric, by agreement, by its outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in
from fpgmlab.tasks.task import eval_batch_size, own_metrics


@dataclass(frozen=True)
class Judgement:
    """Both networks on the same pictures.

    Attributes
    ----------
    metric : str
        Its name; empty without labels.
    before, after : float
        The task's metric of the float network and of the one in INT8; NaN without labels.
    drop : float
        How much worse the metric is; NaN without labels.
    agreement : float
        Share of pictures with the same surest class; of a detector mAP@0.5 against what the float network detects; NaN
        for other outputs.
    error : float
        Root mean square of the outputs' difference, relative to that of the float network's outputs.
    samples : int
    """

    metric: str
    before: float
    after: float
    drop: float
    agreement: float
    error: float
    samples: int


class Judge:
    """Judges networks in INT8 by a task's validation pictures, or by inputs without labels.

    Parameters
    ----------
    float_network : nn.Module
        The float file.
    task : object
        With ``val_batches`` and ``metric``; of anything else the inputs are looked at alone.
    inputs : list
        Batches without labels, where the task has none.
    max_samples : int, optional
        Only the first so many validation examples.
    """

    def __init__(self, float_network: nn.Module, task: Any, inputs: list[object], max_samples: int | None) -> None:
        self.labelled = hasattr(task, "val_batches") and hasattr(task, "metric")
        self.task = task
        self._inputs = inputs
        self._max_samples = max_samples
        self._wanted = [call(float_network, given) for given, _ in self._batches()]
        self.before = self._metric(self._wanted)

    def __call__(self, network: nn.Module) -> Judgement:
        """Return how far a network is from the float one."""
        outputs = [call(network, given) for given, _ in self._batches()]
        after = self._metric(outputs)
        name = self.task.metric_name if self.labelled else ""
        better = 1 if self.labelled and self.task.higher_is_better else -1
        return Judgement(
            name, self.before, after, better * (self.before - after), self._agreement(outputs),
            relative_error(outputs, self._wanted), sum(len(next(tensors_in(o))) for o in outputs),
        )  # fmt: skip

    def _batches(self) -> Iterator[tuple[object, object]]:
        """Yield inputs and targets, read anew: only outputs are small enough to be kept."""
        if self.labelled:
            return self.task.val_batches(eval_batch_size(self.task), self._max_samples)
        return ((given, None) for given in self._inputs)

    def _metric(self, outputs: list[object]) -> float:
        if not self.labelled:
            return math.nan
        metric = self.task.metric()
        for got, (_, targets) in zip(outputs, self._batches(), strict=True):
            metric.update(tree_map_only(Tensor, Tensor.float, got), targets)
        return float(metric.compute())

    def _agreement(self, outputs: list[object]) -> float:
        if (made := own_metrics(self.task if self.labelled else None).get("agreement_map50")) is not None:
            metric = made()
            for got, want in zip(outputs, self._wanted, strict=True):
                metric.update(got, want)
            return float(metric.compute())
        same = [
            (got.argmax(1) == want.argmax(1)).float()
            for got, want in zip(outputs, self._wanted, strict=True)
            if isinstance(got, Tensor) and isinstance(want, Tensor) and got.ndim == 2
        ]
        return float(torch.cat(same).mean()) if same else math.nan


def relative_error(outputs: list[object], wanted: list[object]) -> float:
    """Return the root mean square of a difference relative to that of what is wanted; the mean over several outputs."""
    pairs: dict[int, tuple[float, float]] = {}
    for got, want in zip(outputs, wanted, strict=True):
        for place, (a, b) in enumerate(zip(tensors_in(got), tensors_in(want), strict=True)):
            wrong, whole = pairs.get(place, (0.0, 0.0))
            a, b = a.double(), b.double()
            pairs[place] = (wrong + float((a - b).square().sum()), whole + float(b.square().sum()))
    each = [math.sqrt(wrong / max(whole, 1e-30)) for wrong, whole in pairs.values()]
    return sum(each) / max(len(each), 1)

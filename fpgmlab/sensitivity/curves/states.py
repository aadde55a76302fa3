"""Metrics that are no means over samples, such as F1 or the area under a curve: what each batch adds to them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.utils._pytree import tree_map_only

if TYPE_CHECKING:
    import torchmetrics

Known = dict[tuple[bytes, ...], float]  # the metric on joined states
BatchState = tuple[int, bytes, bytes]  # samples, state, the unpruned network's state; as safetensors


@dataclass(frozen=True)
class States:
    """The states of a torchmetrics metric after each batch, with the unpruned network's: they merge.

    Attributes
    ----------
    parts : tuple of (int, bytes, bytes)
        For each batch: samples, the state, and the unpruned network's, both as safetensors, so that they compare equal
        bit by bit.
    higher_is_better : bool
    share : bool
        Whether the metric is a fraction, from 0 to 1.
    found : tuple of float, optional
        Value, ends of the interval and the unpruned network's value, where they are known already.
    metric : torchmetrics.Metric, optional
        A fresh one. Without it (read from disk) nothing else than what was found is known.
    """

    parts: tuple[BatchState, ...] = ()
    higher_is_better: bool = True
    share: bool = False
    found: tuple[float, float, float, float] | None = field(default=None, compare=False)
    metric: torchmetrics.Metric | None = field(default=None, compare=False, repr=False)

    @property
    def samples(self) -> int:
        """How many samples there are in all batches."""
        return sum(samples for samples, _, _ in self.parts)

    @property
    def mean(self) -> float:
        """The metric on all samples."""
        return self.found[0] if self.found else compute(self.fresh(), [load(state) for _, state, _ in self.parts])

    @property
    def reference(self) -> float:
        """The unpruned network's metric on the same samples."""
        return self.found[3] if self.found else compute(self.fresh(), [load(base) for _, _, base in self.parts])

    def __add__(self, other: States) -> States:
        metric = self.metric if self.metric is not None else other.metric
        return States(self.parts + other.parts, self.higher_is_better, self.share, metric=metric)

    def interval(self, binary: bool = False, known: Known | None = None) -> tuple[float, float, float]:
        """Return the value and the ends of its 95 % interval, infinite for fewer than three batches.

        The jackknife of the difference to the unpruned network, leaving out one batch at a time, for batches of
        unequal size (Busing, Meijer & van der Leeden, *Statistics and Computing* 9, 1999, eq. 4 and 5), with Student's
        quantile for one degree of freedom less than there are batches. Where no batch shows a difference, it is empty.

        Parameters
        ----------
        binary : bool
            Has no effect: only means of samples can be of values 0 and 1.
        known : dict, optional
            The metric on joined states, where it is known already; what is computed is added. The unpruned network's is
            the same for all points of a sweep.
        """
        if self.found is not None:
            return self.found[:3]
        from scipy.special import stdtrit

        known, count = {} if known is None else known, len(self.parts)
        value = self._on([state for _, state, _ in self.parts], known)
        if count < 3:
            return value, -math.inf, math.inf

        def difference(without: int | None) -> float:
            stay = [part for i, part in enumerate(self.parts) if i != without]
            return self._on([state for _, state, _ in stay], known) - self._on([base for _, _, base in stay], known)

        whole = difference(None)
        left_out = torch.tensor([difference(i) for i in range(count)], dtype=torch.float64)
        h = self.samples / torch.tensor([samples for samples, _, _ in self.parts], dtype=torch.float64)  # n / m_j
        pseudo = h * whole - (h - 1) * left_out
        middle = count * whole - ((1 - 1 / h) * left_out).sum()
        variance = float(((pseudo - middle).square() / (h - 1)).mean())
        half = float(stdtrit(count - 1, 0.975)) * math.sqrt(variance)
        return value, value - half, value + half

    def all_found(self, known: Known) -> tuple[float, float, float, float]:
        """Return value, ends of the interval and the unpruned network's value; ``known`` as in `interval`."""
        return self.found or (*self.interval(known=known), self._on([base for _, _, base in self.parts], known))

    def _on(self, states: Sequence[bytes], known: Known) -> float:
        key = tuple(states)
        if key not in known:
            known[key] = compute(self.fresh(), [load(state) for state in states])
        return known[key]

    def fresh(self) -> torchmetrics.Metric:
        """Return a metric whose state may be set; a `ValueError` where there is none."""
        if self.metric is None:
            raise ValueError(
                "these curves hold a metric of a task's own, as states of its batches: to compute it, read them with "
                "the task, Curves.load(path, task=task)"
            )
        return copy.copy(self.metric)  # others may be computing, too


def compute(metric: torchmetrics.Metric, states: Sequence[dict[str, Tensor]]) -> float:
    """Return the metric on the samples of several states; the metric's own state is overwritten."""
    for name, reduction in metric._reductions.items():
        found = [state[name] for state in states if name in state]  # an empty list leaves nothing
        if isinstance(metric._defaults[name], list):
            setattr(metric, name, [torch.cat(found)] if found else [])
        else:
            merge = cast("Callable[[Tensor], Tensor]", reduction)  # `task_metrics.named` lets no other through
            setattr(metric, name, merge(torch.stack(found)))
    return float(type(metric).compute(metric))  # the class's: without the memory of the object's


def state_of(metric: torchmetrics.Metric, outputs: object, targets: object) -> bytes:
    """Return a metric's state after one batch, as safetensors; the metric itself is fresh afterwards."""
    from torchmetrics.utilities import dim_zero_cat

    # On the CPU, where it will be computed: metrics hold more tensors than their states.
    outputs, targets = tree_map_only(Tensor, Tensor.cpu, (outputs, targets))
    outputs = tree_map_only(Tensor, lambda t: t.float() if t.is_floating_point() else t, outputs)
    metric.reset()
    metric.update(outputs, targets)
    lists = {name: dim_zero_cat(s) for name, s in metric.metric_state.items() if isinstance(s, list) and s}
    plain = {name: s for name, s in metric.metric_state.items() if isinstance(s, Tensor)}
    found = save({name: state.detach().contiguous() for name, state in {**plain, **lists}.items()})
    metric.reset()
    return found

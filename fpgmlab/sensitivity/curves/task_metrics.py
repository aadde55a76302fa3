"""A task's own metrics, by torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors.torch import load
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fpgmlab.common.modules import tensors_in
from fpgmlab.errors import unknown
from fpgmlab.sensitivity.curves.metrics import METRICS, Metric
from fpgmlab.sensitivity.curves.states import States, compute, state_of
from fpgmlab.tasks.task import Task

if TYPE_CHECKING:
    import torchmetrics


@dataclass(frozen=True, eq=False)
class Own:
    """A metric of a task's own; the attributes of `metrics.Metric`, and the metric itself."""

    name: str
    metric: torchmetrics.Metric

    binary = False

    @property
    def labels(self) -> bool:
        """Whether it needs targets: not where the metric says ``unlabelled``; it gets the unpruned outputs instead."""
        return not getattr(self.metric, "unlabelled", False)

    @property
    def higher_is_better(self) -> bool:
        """As torchmetrics has it."""
        return self.metric.higher_is_better

    @property
    def share(self) -> bool:
        """Whether it is a fraction, from 0 to 1: where the metric says ``share``."""
        return getattr(self.metric, "share", False)

    @property
    def nothing(self) -> States:
        """The states of no batch."""
        return States((), self.higher_is_better, self.share, metric=self.metric)

    def prepared(self, base: object) -> object:
        """Return what of the unpruned outputs enters: once for all points, where the metric has ``answers``."""
        if self.labels:
            return None
        base = tree_map_only(Tensor, Tensor.float, base)
        return self.metric.answers(base) if hasattr(self.metric, "answers") else base

    def of(self, task: Task, outputs: object, base: object, targets: object) -> tuple[int, bytes]:
        """Return the number of samples of one batch, and the metric's state after it; ``base`` is `prepared`."""
        samples = len(next(tensors_in(outputs)))
        return samples, state_of(self.metric, outputs, targets if self.labels else base)

    @property
    def of_agreement(self) -> bool:
        """Whether it tells how far outputs agree with the unpruned network's: the more the better."""
        return not self.labels and self.higher_is_better

    def alone(self, outputs: object) -> float:
        """Return the metric of the outputs of one sample with themselves."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one sample is too few for many
            return compute(self.nothing.fresh(), [load(self.of(None, outputs, self.prepared(outputs), None)[1])])

    def sums(self, values: tuple[int, bytes], base: tuple[int, bytes]) -> States:
        """Return the states of one batch."""
        return States(((*values, base[1]),), self.higher_is_better, self.share, metric=self.metric)

    def check(self, values: tuple[int, bytes]) -> None:
        """Raise an error when what one sample gives is not good for a sweep."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one sample is too few for many
            compute(self.nothing.fresh(), [load(values[1])] * 4)

    def nbytes(self, values: tuple[int, bytes], samples: int, batches: int) -> int:
        """Return how much the states of a point take in the end, from what one sample gives."""
        lists = [isinstance(self.metric._defaults[name], list) for name in load(values[1])]
        sizes = [state.nbytes for state in load(values[1]).values()]
        return sum(size * (samples if is_list else batches) for size, is_list in zip(sizes, lists, strict=True))


def named(name: str, task: Task) -> Metric | Own:
    """Return a metric by its name: one of the sweep's, or of the task's own ``task.metrics``.

    Raises
    ------
    ValueError
        When there is no such metric, or it cannot be put together from batches, or does not say which way is better.
    TypeError
        When the task gives something else than a torchmetrics metric.
    """
    own: Mapping = getattr(task, "metrics", None) or {}
    if name in METRICS and name in own:
        raise ValueError(f"the task's own metric {name!r} has the name of one of the sweep's: give it another name")
    if name in METRICS:
        return METRICS[name]
    if name not in own:
        raise ValueError(unknown("metric", name, [*METRICS, *own]))
    return Own(name, _checked(name, own[name]()))


def described(metric: Own) -> str:
    """Return a torchmetrics metric's class and settings, which tell it from others of the same name."""
    plain = (bool, int, float, str, type(None), list, tuple)
    settings = {k: v for k, v in vars(metric.metric).items() if k[0] != "_" and isinstance(v, plain)}
    words = (f"{k}={v!r}" for k, v in sorted(settings.items()) if k not in metric.metric._defaults)
    return f"{type(metric.metric).__name__}({', '.join(words)})"


def _checked(name: str, metric: torchmetrics.Metric) -> torchmetrics.Metric:
    from torchmetrics import Metric as TorchMetric
    from torchmetrics.utilities import dim_zero_cat, dim_zero_max, dim_zero_min, dim_zero_sum

    kind = type(metric).__name__
    if not isinstance(metric, TorchMetric):
        raise TypeError(f"task.metrics[{name!r}] must be a function that returns a torchmetrics metric; got a {kind}")
    known = {True: (dim_zero_cat,), False: (dim_zero_sum, dim_zero_max, dim_zero_min)}  # lists, tensors
    odd = [s for s, fn in metric._reductions.items() if fn not in known[isinstance(metric._defaults[s], list)]]
    if odd or not metric._reductions or len(list(metric.modules())) > 1:
        why = f"its state {odd[0]!r} is merged in another way" if odd else "it consists of others, or has no state"
        raise ValueError(
            f"the metric {name!r} ({kind}) cannot be put together from batches: {why}. A sweep takes torchmetrics "
            "whose states are tensors with dist_reduce_fx 'sum', 'max' or 'min', or lists with 'cat'."
        )
    if metric.higher_is_better is None:
        raise ValueError(
            f"the metric {name!r} ({kind}) does not say whether higher is better: give a subclass with "
            "higher_is_better = True or False"
        )
    return metric

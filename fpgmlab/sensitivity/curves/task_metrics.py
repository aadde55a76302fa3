"""A task's own metrics, by torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from safetensors.torch import load
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fpgmlab.common.modules import tensors_in
from fpgmlab.errors import unknown
from fpgmlab.sensitivity.curves.metrics import METRICS, Judge, Metric, Record
from fpgmlab.sensitivity.curves.states import BatchState, States, compute, state_of
from fpgmlab.tasks.task import Task, own_metrics

if TYPE_CHECKING:
    import torchmetrics


@runtime_checkable
class Share(Protocol):
    """A torchmetrics metric that says whether it is a fraction, from 0 to 1."""

    share: bool


@runtime_checkable
class Unlabelled(Protocol):
    """A torchmetrics metric that says whether it takes the unpruned network's outputs in place of targets."""

    unlabelled: bool


@runtime_checkable
class Answering(Protocol):
    """A torchmetrics metric that makes of the unpruned network's outputs once what it takes many times."""

    def answers(self, outputs: object) -> object:
        """Return what ``update`` takes in place of targets."""


@dataclass(frozen=True, eq=False)
class TaskMetric:
    """A metric of a task's own, by torchmetrics, which may have the parts of `Share`, `Unlabelled` and `Answering`."""

    name: str
    metric: torchmetrics.Metric

    binary = False

    @property
    def labels(self) -> bool:
        """Whether it needs targets: not where the metric says ``unlabelled``; it gets the unpruned outputs instead."""
        return not (isinstance(self.metric, Unlabelled) and self.metric.unlabelled)

    @property
    def higher_is_better(self) -> bool:
        """As torchmetrics has it; `named` refuses those that do not say."""
        return bool(self.metric.higher_is_better)

    @property
    def share(self) -> bool:
        """Whether it is a fraction, from 0 to 1: where the metric says ``share``."""
        return isinstance(self.metric, Share) and self.metric.share

    @property
    def nothing(self) -> States:
        """The states of no batch."""
        return self._states()

    def judge(self, task: Task, whole: object, targets: object) -> Judge:
        """Return what judges outputs for a batch, from the unpruned network's outputs and the targets."""
        wanted = self._wanted(whole, targets)
        base = state_of(self.metric, whole, wanted)
        samples = len(next(tensors_in(whole)))

        def of(outputs: object) -> States:
            return self._states((samples, state_of(self.metric, outputs, wanted), base))

        return Judge(self._states((samples, base, base)), of)

    def reader(self, task: Task, whole: object, targets: object) -> Callable[[object], Record]:
        """Return what notes the metric's state after a batch."""
        wanted = self._wanted(whole, targets)
        return lambda outputs: state_of(self.metric, outputs, wanted)

    def between(self, ours: Sequence[Record], theirs: Sequence[Record], samples: Sequence[int]) -> States:
        """Return the states of one network, paired with another's on the same samples."""
        pairs = zip(samples, cast("Sequence[bytes]", ours), cast("Sequence[bytes]", theirs), strict=True)
        return self._states(*pairs)

    def check(self, task: Task, outputs: object, target: object) -> None:
        """Raise an error when what one sample gives cannot be put together."""
        self._computed(outputs, target, 4)

    @property
    def of_agreement(self) -> bool:
        """Whether it tells how far outputs agree with the unpruned network's: the more the better."""
        return not self.labels and self.higher_is_better

    def alone(self, outputs: object) -> float:
        """Return the metric of agreement of the outputs of one sample with themselves."""
        return self._computed(outputs, None, 1)

    def nbytes(self, outputs: object, target: object, samples: int, batches: int) -> int:
        """Return how much the states of a point take in the end, from the outputs and the target of one sample."""
        states = load(state_of(self.metric, outputs, self._wanted(outputs, target)))
        lists = [isinstance(self.metric._defaults[name], list) for name in states]
        sizes = [state.nbytes for state in states.values()]
        return sum(size * (samples if is_list else batches) for size, is_list in zip(sizes, lists, strict=True))

    def _wanted(self, whole: object, targets: object) -> object:
        """Return what takes the place of targets: once for all points, where the metric has ``answers``."""
        if self.labels:
            return targets
        whole = tree_map_only(Tensor, Tensor.float, whole)
        return self.metric.answers(whole) if isinstance(self.metric, Answering) else whole

    def _states(self, *batches: BatchState) -> States:
        return States(batches, self.higher_is_better, self.share, metric=self.metric)

    def _computed(self, outputs: object, target: object, times: int) -> float:
        """Return the metric of one sample, as often as asked for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one sample is too few for many
            state = state_of(self.metric, outputs, self._wanted(outputs, target))
            return compute(self.nothing.fresh(), [load(state)] * times)


def named(name: str, task: Task) -> Metric:
    """Return a metric by its name: one of the sweep's, or of the task's own ``task.metrics``.

    Raises
    ------
    ValueError
        When there is no such metric, or it cannot be put together from batches, or does not say which way is better.
    TypeError
        When the task gives something else than a torchmetrics metric.
    """
    own = own_metrics(task)
    if name in METRICS and name in own:
        raise ValueError(f"the task's own metric {name!r} has the name of one of the sweep's: give it another name")
    if name in METRICS:
        return METRICS[name]
    if name not in own:
        raise ValueError(unknown("metric", name, [*METRICS, *own]))
    return TaskMetric(name, _checked(name, own[name]()))


def described(metric: TaskMetric) -> str:
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

"""The sweep: every group at every ratio, on the same samples, with as little computed twice as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fpgmlab.errors import unknown
from fpgmlab.graph import ChannelGraph
from fpgmlab.grouping import PRODUCERS
from fpgmlab.modules import channels_last, device_of, eval_mode
from fpgmlab.plan import Plan
from fpgmlab.rounding import Scores
from fpgmlab.sensitivity.curves import Curves, Key
from fpgmlab.sensitivity.intervals import Paired
from fpgmlab.sensitivity.metrics import METRICS, Metric
from fpgmlab.sensitivity.replay import Replay, replaying
from fpgmlab.surgery import MIXING_NORMS, simulate

RATIOS = tuple(round(0.1 * k, 1) for k in range(1, 10))


@dataclass(frozen=True, eq=False)
class Point:
    """A group at a ratio: what to remove, and the modules whose weights that changes."""

    group: str
    plan: Plan
    changed: tuple[str, ...]

    @property
    def kept(self) -> int:
        """How many of the group's channels stay."""
        return self.plan.kept[self.group]


@torch.no_grad()
def sweep(
    graph: ChannelGraph,
    scores: Scores,
    task: object,
    *,
    ratios: Sequence[float] = RATIOS,
    metrics: Sequence[str] = ("accuracy", "loss"),
    max_samples: int | None = None,
    batch_size: int = 256,
    memory: float = 4e9,
    multiple: int = 1,
    dtype: str = "float32",
    tolerance: float | None = None,
    stop: Callable[[], bool] | None = None,
    on_update: Callable[[Curves], None] | None = None,
    progress: bool = True,
) -> Curves:
    """Measure how each group alone bears pruning: a metric at several ratios, all other groups whole.

    Batches are outside, groups and ratios inside: each batch runs the whole network once, and each point only the
    layers after the group's first consumer; what comes before is answered from memory. The outputs are those of the
    really pruned network. After every batch the curves exist, with intervals.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        See `fpgmlab.score`. The channels with the lowest go first.
    task : task
        Its validation data is used, in order.
    ratios : sequence of float
        0 < ratio < 1, rounded for each group to what it may keep.
    metrics : sequence of {"accuracy", "loss", "agreement", "kl", "change"}
        The last three need no labels: they compare with the unpruned network's outputs (share of equal answers,
        KL divergence of the class probabilities in nats, mean squared change of the outputs).
    max_samples : int, optional
        Only the first so many examples.
    batch_size : int
        Examples in one forward pass.
    memory : float
        Bytes that the remembered activations may take; a batch that would need more is cut.
    multiple : int
        Keep a multiple of so many channels, or all of them.
    dtype : {"float32", "bfloat16"}
        Of the computation; bfloat16 by autocast.
    tolerance : float, optional
        End a point when half its interval, in the first of ``metrics``, is at most this.
    stop : callable, optional
        Asked before each forward pass; the sweep ends at once when it returns true.
    on_update : callable, optional
        Called with the `Curves` so far after every batch.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Curves
        On Ctrl-C and ``stop``, of the batches that were finished.

    Raises
    ------
    ValueError
        For ratios, metrics or a dtype that do not exist, or scores that do not fit.
    ReplayError
        When the model's control flow depends on the values.
    """
    chosen = _chosen(metrics)
    points = _points(graph, scores, ratios, multiple)
    if not memory > 0:
        raise ValueError(f"memory must be a number of bytes > 0; got {memory}")
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be one of 'float32', 'bfloat16'; not {dtype!r}")
    model, device = graph.model, device_of(graph.model)
    curves = Curves(
        {(p.group, p.kept, metric.name): Paired() for p in points for metric in chosen},
        {metric.name: Paired() for metric in chosen},
        {p.group: p.plan.widths[p.group] for p in points},
        {p.group: 0.0 for p in points},
        complete=False,
    )
    cast = torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()
    samples = len(task.val) if max_samples is None else min(max_samples, len(task.val))
    try:
        with eval_mode(model), channels_last(model), replaying(model) as replay, cast, _bar(samples, progress) as bar:
            for inputs, targets in _batches(task, replay, batch_size, max_samples, memory, device):
                live = _unfinished(points, curves, chosen[0], tolerance)
                if not live or (stop is not None and stop()):
                    break
                part = _measured(graph, replay, inputs, targets, task, live, chosen, stop)
                if part is None:
                    return curves
                # All points of a batch count, or none: a batch that was cut short leaves no trace.
                curves = _joined(curves, part)
                bar.update(len(inputs))
                if on_update is not None:
                    on_update(curves)
            else:
                return replace(curves, complete=True)
    except KeyboardInterrupt:
        return curves
    return replace(curves, complete=not _unfinished(points, curves, chosen[0], tolerance))


def _measured(
    graph: ChannelGraph,
    replay: Replay,
    inputs: Tensor,
    targets: object,
    task: object,
    points: Sequence[Point],
    metrics: Sequence[Metric],
    stop: Callable[[], bool] | None,
) -> Curves | None:
    """Return what one batch says of some points; None when it was stopped."""
    whole = replay.record(inputs)
    reference = {metric.name: metric.of(task, whole, whole, targets) for metric in metrics}
    sums: dict[Key, Paired] = {}
    changes: dict[str, float] = {}
    for point in points:
        if stop is not None and stop():
            return None
        with simulate(graph, point.plan):
            outputs = replay.run(point.changed)
        change = float((outputs.float() - whole.float()).abs().max())
        changes[point.group] = max(changes.get(point.group, 0.0), change)
        for metric in metrics:
            values = metric.of(task, outputs, whole, targets)
            sums[point.group, point.kept, metric.name] = Paired.of(values, reference[metric.name])
    return Curves(sums, {name: Paired.of(values, values) for name, values in reference.items()}, {}, changes)


def _joined(curves: Curves, part: Curves) -> Curves:
    """Add a batch, in which finished points may be missing."""
    return replace(
        curves,
        sums={key: value + part.sums.get(key, Paired()) for key, value in curves.sums.items()},
        whole={name: value + part.whole[name] for name, value in curves.whole.items()},
        changes={name: max(value, part.changes.get(name, 0.0)) for name, value in curves.changes.items()},
    )


def changed_by(graph: ChannelGraph, group: str) -> tuple[str, ...]:
    """Return the modules whose weights `fpgmlab.simulate` changes to remove channels of a group."""
    where = graph.channels_of(group)
    modules = dict(graph.model.named_modules())
    names = []
    for layer in graph.layers:
        if layer.kind in PRODUCERS and not layer.depthwise:
            channels = layer.inputs
        elif layer.kind in MIXING_NORMS:
            channels = layer.outputs
        else:
            continue
        if channels is not None and bool(((channels >= where.start) & (channels < where.stop)).any()):
            names.append(layer.name)
    weights = {id(modules[name].weight) for name in names}
    # Modules that share a weight change together.
    shared = [n for n, m in modules.items() if any(id(p) in weights for p in m.parameters(recurse=False))]
    return tuple(dict.fromkeys([*names, *shared]))


def _chosen(metrics: Sequence[str]) -> list[Metric]:
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metrics must be at least one, each once; got {names}")
    return [METRICS[name] for name in names]


def _points(graph: ChannelGraph, scores: Scores, ratios: Sequence[float], multiple: int) -> list[Point]:
    """Return every group at every ratio; ratios that leave the same channels are one point, that leave all none."""
    if not len(ratios) or not all(isinstance(r, (int, float, np.floating)) and 0 < r < 1 for r in ratios):
        raise ValueError(f"ratios must be numbers with 0 < ratio < 1; got {list(ratios)}")
    points = []
    for name, group in graph.items():
        if group.protected is not None:
            continue
        changed = changed_by(graph, name)
        by_kept = {}
        for ratio in sorted(ratios):
            plan = Plan.from_ratios(graph, scores, {name: ratio}, multiple=multiple)
            if plan.kept[name] < group.channels:
                by_kept.setdefault(plan.kept[name], Point(name, plan, changed))
        points += by_kept.values()
    return points


def _unfinished(points: Sequence[Point], curves: Curves, metric: Metric, tolerance: float | None) -> list[Point]:
    def wide(point: Point) -> bool:
        sums = curves.sums[point.group, point.kept, metric.name]
        if tolerance is None or sums.samples == 0:
            return True
        _, low, high = sums.interval(metric.binary)
        return (high - low) / 2 > tolerance

    return [point for point in points if wide(point)]


def _batches(
    task: object, replay: Replay, batch_size: int, max_samples: int | None, memory: float, device: torch.device
) -> Iterator[tuple[Tensor, object]]:
    """Yield the validation data on the model's device, in parts whose activations fit into memory."""
    fits = None
    for inputs, targets in task.val_batches(batch_size, max_samples):
        inputs, targets = inputs.to(device), _to(targets, device)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        if fits is None:
            replay.record(inputs[:1])
            fits = max(1, int(memory / max(1, replay.nbytes)))
        for start in range(0, len(inputs), fits):
            yield inputs[start : start + fits], targets[start : start + fits]


def _to(targets: object, device: torch.device) -> object:
    return targets.to(device) if isinstance(targets, Tensor) else targets


def _bar(samples: int, progress: bool) -> Iterator:
    from tqdm.auto import tqdm

    return tqdm(total=samples, disable=not progress, unit="sample", desc="sweep", leave=False)

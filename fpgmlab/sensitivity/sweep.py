"""The sweep: every group at every ratio, on the same samples, with as little computed twice as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from fpgmlab.errors import unknown
from fpgmlab.graph import ChannelGraph
from fpgmlab.modules import device_of
from fpgmlab.rounding import Scores
from fpgmlab.sensitivity.batches import batches
from fpgmlab.sensitivity.curves import Curves
from fpgmlab.sensitivity.intervals import Paired
from fpgmlab.sensitivity.measuring import measured
from fpgmlab.sensitivity.metrics import METRICS, Metric
from fpgmlab.sensitivity.points import RATIOS, Point, points
from fpgmlab.sensitivity.runners import running


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
    grid = points(graph, scores, ratios, multiple)
    if not memory > 0:
        raise ValueError(f"memory must be a number of bytes > 0; got {memory}")
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be one of 'float32', 'bfloat16'; not {dtype!r}")
    device = device_of(graph.model)
    curves = Curves(
        {(p.group, p.kept, metric.name): Paired() for p in grid for metric in chosen},
        {metric.name: Paired() for metric in chosen},
        {p.group: p.plan.widths[p.group] for p in grid},
        {p.group: 0.0 for p in grid},
        complete=False,
    )
    samples = len(task.val) if max_samples is None else min(max_samples, len(task.val))
    try:
        with running(graph, dtype) as runner, _bar(samples, progress) as bar:
            for inputs, targets in batches(task, runner, batch_size, max_samples, memory, device):
                live = _unfinished(grid, curves, chosen[0], tolerance)
                if not live or (stop is not None and stop()):
                    break
                part = measured(runner, inputs, targets, task, live, chosen, stop)
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
    return replace(curves, complete=not _unfinished(grid, curves, chosen[0], tolerance))


def _joined(curves: Curves, part: Curves) -> Curves:
    """Add a batch, in which finished points may be missing."""
    return replace(
        curves,
        sums={key: value + part.sums.get(key, Paired()) for key, value in curves.sums.items()},
        whole={name: value + part.whole[name] for name, value in curves.whole.items()},
        changes={name: max(value, part.changes.get(name, 0.0)) for name, value in curves.changes.items()},
    )


def _chosen(metrics: Sequence[str]) -> list[Metric]:
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metrics must be at least one, each once; got {names}")
    return [METRICS[name] for name in names]


def _unfinished(grid: Sequence[Point], curves: Curves, metric: Metric, tolerance: float | None) -> list[Point]:
    def wide(point: Point) -> bool:
        sums = curves.sums[point.group, point.kept, metric.name]
        if tolerance is None or sums.samples == 0:
            return True
        _, low, high = sums.interval(metric.binary)
        return (high - low) / 2 > tolerance

    return [point for point in grid if wide(point)]


def _bar(samples: int, progress: bool) -> Iterator:
    from tqdm.auto import tqdm

    return tqdm(total=samples, disable=not progress, unit="sample", desc="sweep", leave=False)

"""The sweep: every group at every ratio, on the same samples, with as little computed twice as can be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.given import check_task
from fpgmlab.common.inputs import inputs_of
from fpgmlab.common.interrupts import tell_interrupted
from fpgmlab.common.modules import device_of
from fpgmlab.common.processor import warn_where_slow
from fpgmlab.common.warned import warn
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.plans.rounding import Multiple, Scores
from fpgmlab.sensitivity.checks import check_numbers, checked_metrics, samples_in
from fpgmlab.sensitivity.curves.curves import Curves
from fpgmlab.sensitivity.curves.task_metrics import named
from fpgmlab.sensitivity.replay.points import RATIOS, points
from fpgmlab.sensitivity.store.folder import stored
from fpgmlab.sensitivity.store.progress import Progress, begun, unfinished
from fpgmlab.sensitivity.store.work import SweepJob, Work, here, opened, parts
from fpgmlab.tasks.task import Task, check_network, eval_batch_size

if TYPE_CHECKING:
    from distributed import Client
    from tqdm import tqdm


@torch.no_grad()
def sweep(
    graph: ChannelGraph,
    scores: Scores,
    task: Task,
    *,
    ratios: Sequence[float] = RATIOS,
    metrics: str | Sequence[str] | None = None,
    max_samples: int | None = None,
    batch_size: int | None = None,
    memory: float = 4e9,
    multiple: Multiple = 1,
    dtype: str = "float32",
    tolerance: float | None = None,
    surgery: bool = False,
    recalibrate: int = 0,
    repair: bool = False,
    repair_samples: int | None = None,
    path: str | os.PathLike[str] | None = None,
    client: Client | None = None,
    stop: Callable[[], bool] | None = None,
    on_update: Callable[[Curves], None] | None = None,
    progress: bool = True,
) -> Curves:
    """Measure how each group alone bears pruning: a metric at several ratios, all other groups whole.

    Batches are outside, groups and ratios inside: each batch runs the whole network once, and each point only what
    depends on the group's consumers; the rest is remembered. The network is run from a recording of its operations,
    with batch norms folded and activations fused into the convolutions; where none can be made, module by module. The
    outputs are those of the really pruned network. After every batch the curves exist, with intervals.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        (channels,) by group, see `fpgmlab.score`. The channels with the lowest go first.
    task : task
        Its validation data is used, in order.
    ratios : sequence of float
        0 <= ratio < 1, in any order, rounded for each group to what it may keep.
    metrics : sequence of {"accuracy", "loss", "agreement", "kl", "change"}, or names in ``task.metrics``, optional
        When left out, ``task.usual_metrics``, or the first three of these. The last three of them need no labels: they
        compare with the unpruned network's outputs (share of equal answers, KL divergence of the class probabilities
        in nats, mean squared change of the outputs). Those of the task are by torchmetrics; their states are kept for
        each batch and point. Their interval is a jackknife that leaves out one batch at a time, infinite for fewer
        than three batches.
    max_samples : int, optional
        Only the first so many examples; all when there are fewer.
    batch_size : int, optional
        Examples in one forward pass; when left out, the task's ``eval_batch_size``, or 256.
    memory : float
        Bytes that the remembered activations may take; a batch that would need more is cut. Where memory runs out all
        the same, the batch is halved, with a warning.
    multiple : int
        Keep a multiple of so many channels, or all of them.
    dtype : {"float32", "bfloat16"}
        Of weights and activations; bfloat16 is quicker where the processor has it, and rounds to three digits.
    tolerance : float, optional
        End a point when half its interval, in the first of ``metrics``, is at most this; with 15 % to spare: it is
        looked at after every batch, and would else end whenever chance has made the interval narrow.
    surgery : bool
        Really prune the network for each point and each batch, and run what is left, instead of simulating it. The
        curves are the same up to rounding; it takes several times as long.
    recalibrate : int
        Estimate the batch norms' statistics of each pruned network anew, as `fpgmlab.recalibrate` does on so many
        batches of the task's training data (kept in memory), before it is run: what a curve gains by it was only stale
        statistics. Implies ``surgery``. The unpruned network, the reference, keeps the statistics that it has.
    repair : bool
        Refit the layers that read the group by least squares, so that they give from what they still read what they
        gave, as `fpgmlab.repair` does for a whole plan: the curves tell what a group loses that the others cannot take
        over. In closed form from what these layers read in the unpruned network, for all ratios of a group at once; the
        points themselves take no longer. Labels are not read. Goes with everything else; what is recalibrated is the
        refitted network.
    repair_samples : int, optional
        Examples of the task's training data for that, see `fpgmlab.common.inputs.inputs_of`. When left out, as many as
        `fpgmlab.repair` takes: of classifiers 512, of detectors as a rule a few dozen.
    path : path-like, optional
        A folder for the progress, written after every batch. Killed at any moment and started again with the same
        arguments, the sweep goes on after the last finished batch and ends with the identical curves; one that is
        complete is only read. To see that nothing has changed, the weights are digested and the data of finished
        batches are read again (what the code of a ``forward`` or a loss does is not looked at). ``max_samples`` may
        grow. `Curves.load` reads the folder without model and data.
    client : dask.distributed.Client, optional
        Spreads the batches over its workers; the curves are identical to those without (on the same kind of machine,
        with as many threads), and a lost worker loses nothing. Each worker gets the model and the task once and uses
        the first GPU that it sees, or the CPU: start one for each GPU, as dask-cuda's ``LocalCUDACluster()`` does, or
        with another ``CUDA_VISIBLE_DEVICES`` each. Dask gives its worker processes one thread of OpenMP each; start
        one worker for each core, or fewer with a larger ``OMP_NUM_THREADS``. On a SLURM cluster::

            from dask_jobqueue import SLURMCluster
            from distributed import Client

            cluster = SLURMCluster(cores=1, processes=1, memory="16GB", job_extra_directives=["--gres=gpu:1"])
            cluster.scale(jobs=8)
            fl.sweep(graph, scores, task, path="outputs/sweep", client=Client(cluster))

        The data set must be readable there.
    stop : callable, optional
        Asked before each forward pass (with a client, every tenth of a second); the sweep ends at once when it
        returns true.
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
        For ratios, metrics or a dtype that do not exist, numbers out of range, scores that do not fit, a network that
        the task is not for, a task without data or that cannot give a metric; with ``repair`` also for one without
        training data, and when a layer reads numbers that are not finite; when ``path`` holds another sweep (with what
        differs) or damaged files.
    OSError
        When ``path`` cannot be written; nothing was measured then.
    RuntimeError
        When another sweep is writing to ``path``; what a worker ran into.
    TypeError
        When the model or the task cannot be sent to workers.
    ReplayError
        When the model's control flow depends on the values.

    Warns
    -----
    RuntimeWarning
        Before the first batch, when the unpruned network gives no answer that a metric of agreement counts, such as a
        detector that detects nothing: all its values will be 0. When memory runs out.
    UserWarning
        For bfloat16 on a processor that takes longer for it; with a metric that needs labels, when pictures have none.

    Examples
    --------
    >>> curves = fl.sweep(graph, scores, task, ratios=[0.5], max_samples=32, progress=False)
    >>> curves
    Curves of 12 groups, accuracy, loss, agreement, on up to 32 samples
    """
    check_graph(graph)
    check_task(task, "fl.sweep(graph, scores, task)")
    grid = points(graph, scores, ratios, multiple)
    names = checked_metrics(metrics, task)
    check_network(task, graph.model, any(named(name, task).labels for name in names))
    batch_size = eval_batch_size(task, batch_size)
    check_numbers(batch_size, memory, dtype, tolerance, recalibrate, repair_samples)
    total = samples_in(task, max_samples)
    pictures: tuple[object, ...] = ()
    if repair:
        wanted = repair_samples or enough_pictures(graph)
        pictures = tuple(inputs_of(task, wanted, at_most=repair_samples is None))
    if dtype == "bfloat16" and client is None:
        warn_where_slow(device_of(graph.model), torch.bfloat16, 'dtype="float32"')
    job = SweepJob(
        graph, task, grid, names, dtype, batch_size, total, tolerance, digests=path is not None,
        surgery=bool(surgery or recalibrate), recalibrate=int(recalibrate), pictures=pictures,
    )  # fmt: skip
    made_from = {"ratios": sorted({float(r) for r in ratios if r > 0}), "multiple": multiple}
    state = begun(job, scores)

    def live() -> Sequence[int]:
        return unfinished(job, state.curves)

    try:
        with stored(path, job, scores, made_from) as store:
            if store is not None:
                state = store.load(state)
            if state.curves.complete:
                return state.curves
            with (
                _bar(state.done, total, len(grid), progress) as bar,
                _working(job, state, memory, client, stop, bar.update) as (work, limit),
            ):
                state = replace(state, limit=limit, memory=min(memory, state.memory or memory))
                for part in parts(work, job, state.done, limit, live):
                    # All points of a part count, or none: a part that was cut short leaves no trace.
                    state = state.plus(part, job)
                    if store is not None:
                        store.save(state)
                    bar.update(state.done * len(grid) - bar.n)
                    if on_update is not None:
                        on_update(state.curves)
    except KeyboardInterrupt as end:
        of = "of which its curves are" if state.done else "before the first batch: there are no curves yet"
        tell_interrupted(f"the sweep ends after {state.done} of {total} examples, {of}", end)
    return state.curves


@contextmanager
def _working(
    job: SweepJob,
    state: Progress,
    memory: float,
    client: Client | None,
    stop: Callable[[], bool] | None,
    on_answers: Callable[[int], object],
) -> Iterator[tuple[Work, int]]:
    """Give what measures, here or on a client's workers, and how many samples a part may have."""
    with opened(job) as bench:
        limit = state.limit
        if not limit or memory < state.memory:  # else as before, so that the parts are the same
            limit = min(bench.limit(memory), limit or job.batch_size)
        if not state.done and (words := bench.silence(stop)):
            warn(words, RuntimeWarning)
        if client is None:
            yield here(bench, stop, on_answers), limit
            return
    from fpgmlab.sensitivity.store.cluster import spread

    with spread(client, job, stop) as work:
        yield work, limit


def _bar(done: int, samples: int, points: int, progress: bool) -> tqdm:
    """Return a bar of answers: an example's at one point each, so that it moves within a batch as well."""
    return progress_bar(
        initial=done * points, total=samples * points, progress=progress, unit="answer", unit_scale=True, desc="sweep"
    )

"""What the desk can do with a plan: evaluate, prune, repair, fine-tune, export. Each runs in a thread, step by step."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fpgmlab.common.numbers import counted
from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.plans.plan import Plan
from fpgmlab.recovery.repairing import repair, repair_report
from fpgmlab.recovery.training import fit
from fpgmlab.sensitivity import Curves
from fpgmlab.surgery.pruning import prune
from fpgmlab.tasks import evaluate
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.desk.export import write_folder
from fpgmlab.widgets.desk.job import Cancelled, Job, Made, Watched, epochs_words
from fpgmlab.widgets.desk.report import Measured, report_frame

NO_TASK = "no task was given: PlanEditor(graph, curves, task)"
_TRAINING = 3  # a training step takes about as long as so many evaluations: forward, and twice that backward
_REPAIR = 16  # repairing takes about as long as so many evaluations of the same pictures
_LOOK = 0.2  # the pass through the whole network, to the refitting of all layers
# The desk tells it in its own words, and a thread cannot set it aside for a while: filters are the whole process's.
warnings.filterwarnings("ignore", "no epoch was as good", UserWarning, r"fpgmlab\.widgets\.desk\.jobs$")


@dataclass(frozen=True)
class Order:
    """What a job works on: its own copy of the graph, and all that belongs to the plan.

    Attributes
    ----------
    graph : ChannelGraph
    curves : Curves
    task : task or None
    table : LatencyTable or None
    plan : Plan
    made : Made or None
        The network that was pruned by this plan, when there is one.
    measured : mapping
        What was measured of this plan before.
    repaired : bool
        Whether the plan stands for a repaired network, as it does where the desk measures such ones by itself.
    samples : int, optional
        Pictures to repair with.
    """

    graph: ChannelGraph
    curves: Curves
    task: Task | None
    table: LatencyTable | None
    plan: Plan
    made: Made | None
    measured: Measured
    repaired: bool = False
    samples: int | None = None

    @property
    def data(self) -> Task:
        """The task, for a job that needs one."""
        if self.task is None:
            raise ValueError(NO_TASK)
        return self.task


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes
    ----------
    words : str
    measured : mapping
        By kind of network ("pruned", "repaired", "fine-tuned"), the metric, the loss and how many samples.
    files : tuple of str
    cancelled : bool
    """

    words: str
    measured: Measured = field(default_factory=dict)
    files: tuple[str, ...] = ()
    cancelled: bool = False


def evaluating(job: Job, order: Order) -> Outcome:
    """Measure the pruned network on the task's validation data."""
    job.tell("Pruning", 0, 1, at_once=True)
    model = prune(order.graph, order.plan)
    samples = len(order.data.val)

    def on_batch(seen: int) -> None:
        job.tell(f"Evaluating: {seen:,} of {counted(samples, 'sample')}", seen, samples)
        job.check()

    task = Watched(order.data, on_batch)
    found = evaluate(model, task)
    name = task.metric_name
    words = (
        f"Evaluated: {name} {found[name]:.4g}, loss {found['loss']:.4g} on {counted(int(found['samples']), 'sample')}."
    )
    return Outcome(words, measured={"pruned": found})


def pruning(job: Job, order: Order) -> Outcome:
    """Prune the network."""
    _pruned(job, order)
    return Outcome(f"Pruned: {order.graph.cost(order.plan)}.")


def repairing(job: Job, order: Order, samples: int | None) -> Outcome:
    """Prune the network, refit its weights on unlabelled pictures, and measure it; all of its layers or none."""
    task, validation = order.data, len(order.data.val)
    samples = _pictures(order, samples)
    refitting = _REPAIR * samples

    def validating(seen: int) -> None:
        words = f"Repaired, evaluating: {seen:,} of {counted(validation, 'sample')}"
        job.tell(words, refitting + seen, refitting + validation)
        job.check()

    made = _repaired(job, order, samples, validation)
    if made is None:
        return Outcome("Cancelled before all layers were repaired: the network is as before.", cancelled=True)
    try:
        found = evaluate(made.model, Watched(task, validating))
    except Cancelled:
        return Outcome("Repaired; cancelled before that was measured.", cancelled=True)
    name = task.metric_name
    values = f"{name} {found[name]:.4g}, loss {found['loss']:.4g} on {counted(int(found['samples']), 'sample')}"
    return Outcome(f"Repaired with {counted(samples, 'picture')}: {values}.", {"repaired": found})


def fine_tuning(job: Job, order: Order, epochs: int, lr: float) -> Outcome:
    """Train the pruned network, from where it is; when that is cancelled, the best weights so far stay."""
    made = _given(job, order)
    model, samples = copy.deepcopy(made.model), len(order.data.val)
    training = _TRAINING * len(order.data.train)
    each = training + samples
    total = samples + epochs * each  # it is measured before its training, too
    job.check()

    def stepped(row: Mapping) -> None:
        job.steps = row["steps"]
        job.trace.add(row["step"], row["loss"])
        trained = row["step"] * epochs * training / row["steps"]
        words = f"Epoch {row['epoch']} of {epochs}: step {row['step']:,} of {row['steps']:,}, loss {row['loss']:.3f}"
        job.tell(words, samples + trained + len(job.epochs) * samples, total)

    def validating(seen: int) -> None:
        epoch = len(job.epochs) + 1 if job.steps else 0
        begin = f"Epoch {epoch} of {epochs}: validating" if epoch else "Before training: validating"
        job.tell(f"{begin}, {seen:,} of {counted(samples, 'sample')}", epoch * each + seen, total)
        job.check()

    def finished(row: Mapping) -> None:
        job.epochs = [*job.epochs, {name: row[name] for name in ("epoch", "train_loss", "loss", task.metric_name)}]

    task = Watched(order.data, validating)
    history = fit(
        model, task, epochs, lr=lr, progress=False, on_step=stepped, on_epoch=finished, stop=lambda: job.stopping
    )
    early, kept, name = history.attrs["interrupted"], history.attrs["kept"], task.metric_name
    if not len(history):
        return Outcome("Cancelled before the first epoch was through: the weights are as before.", cancelled=True)
    if not kept:
        words = f"{len(history)} of {epochs_words(epochs)} made, none as good as the weights before"
        return Outcome(f"{words}: {name} {history.attrs['began'][name]:.4g}. They stay.", cancelled=early)
    row = history.set_index("epoch").loc[kept]
    found = {"loss": float(row["loss"]), name: float(row[name]), "samples": samples}
    begin = f"Cancelled after {len(history)} of" if early else "Fine-tuned for"
    values = f"{name} {found[name]:.4g}, loss {found['loss']:.4g}"
    words = f"{begin} {epochs_words(epochs)}: {values} with the weights of epoch {kept}."
    job.made = Made(model, order.plan, made.epochs + kept, made.repaired)
    return Outcome(words, {"fine-tuned": found}, cancelled=early)


def exporting(job: Job, order: Order, folder: str | os.PathLike[str]) -> Outcome:
    """Write the pruned network, the plan and a report into a folder."""
    made = _given(job, order)

    def told(words: str, step: int, steps: int) -> None:
        job.check()
        job.tell(words, step, steps, at_once=True)

    frame = report_frame(order.graph, order.curves, order.table, order.plan, order.measured)
    inputs = None if order.task is None else next(iter(order.task.val_batches(16, None)))[0]
    checks = (inputs,) if isinstance(inputs, Tensor) else ()
    files = write_folder(folder, order.graph, made, frame, checks, told)
    return Outcome(f"Exported {len(files)} files to {os.fspath(folder)}.", files=files)


def _given(job: Job, order: Order) -> Made:
    """Return what the plan gives: the network that was made by it, or one made now as the desk measures it."""
    if order.made is not None:
        return order.made
    if not order.repaired or not any(order.plan.removed.values()):  # what lost nothing has nothing to repair
        return _pruned(job, order)
    made = _repaired(job, order, _pictures(order, order.samples), len(order.data.val))
    if made is None:
        raise Cancelled
    return made


def _pictures(order: Order, samples: int | None) -> int:
    """Return how many pictures a repair takes; no more than there are, unless they are augmented and asked for."""
    there = max(1, len(order.data.train))
    if samples is not None and getattr(order.data, "augment", None) is not None:
        return samples
    return min(enough_pictures(order.graph) if samples is None else samples, there)


def _repaired(job: Job, order: Order, samples: int, rest: int) -> Made | None:
    """Prune the network and refit its weights; None when that was cancelled. ``rest`` is the work that follows."""
    refitting, finished = _REPAIR * samples, 0
    total = refitting + rest
    job.tell("Repairing: what the layers give in the whole network", 0, total, at_once=True)

    def refitted(row: Mapping) -> None:
        nonlocal finished
        finished += 1
        words = f"Repairing: {finished} of {row['layers']} layers, up to {row['layer']}"
        job.tell(words, refitting * (_LOOK + finished / row["layers"]) / (_LOOK + 1), total)

    model = repair(
        order.graph, order.plan, order.data, samples=samples, stop=lambda: job.stopping, on_layer=refitted,
        progress=False,
    )  # fmt: skip
    if repair_report(model).attrs["interrupted"]:
        return None
    job.made = Made(model, order.plan, repaired=True)
    return job.made


def _pruned(job: Job, order: Order) -> Made:
    job.tell("Pruning", 0, 1, at_once=True)
    job.made = Made(prune(order.graph, order.plan), order.plan)
    return job.made

"""Training: one readable loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

from torch import nn

from fpgmlab.common.given import check_model, check_task
from fpgmlab.common.modules import device_of
from fpgmlab.common.processor import warn_where_slow
from fpgmlab.common.warned import warn
from fpgmlab.recovery.extras.ema import EMA
from fpgmlab.recovery.extras.extra import Extra, check_extras
from fpgmlab.recovery.fitting.loop import Around, Loop
from fpgmlab.recovery.fitting.options import Options
from fpgmlab.recovery.fitting.processes import launched
from fpgmlab.recovery.steps import autocast_dtype
from fpgmlab.tasks.task import Task, check_network, train_batch_size

if TYPE_CHECKING:
    import pandas as pd

FROZEN = 0.01  # least share of the weights that is told of; some networks hold a few constants as parameters
_told: WeakSet[nn.Module] = WeakSet()  # models whose frozen weights have been told of


def fit(
    model: nn.Module,
    task: Task,
    epochs: int = 1,
    *,
    lr: float = 0.05,
    optimizer: str = "sgd",
    weight_decay: float = 5e-4,
    batch_size: int | None = None,
    extras: Sequence[Extra] = (),
    seed: int = 0,
    amp: str = "auto",
    keep: str = "best",
    average: float = 0.0,
    accumulate: int = 1,
    workers: int | str = 0,
    compile: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Train a model in place, on the device where it lies.

    SGD with Nesterov momentum 0.9, or AdamW; the learning rate warms up for 5 % of the steps and then falls along a
    half cosine to zero (Loshchilov & Hutter, 2017, arXiv:1608.03983). Ctrl-C ends the training early and
    leaves a usable model: with ``keep="best"`` the best weights until then.

    Parameters
    ----------
    model : nn.Module
        Changed in place; its train/eval mode is the same afterwards as before.
    task : task
        Data, loss and metric; see `fpgmlab.tasks`.
    epochs : int
        Passes over the training data.
    lr : float
        Highest learning rate.
    optimizer : {"sgd", "adamw"}
    weight_decay : float
        L2 penalty (SGD) or decoupled decay (AdamW) on all parameters.
    batch_size : int, optional
        Examples in a batch, of all processes together; when left out, the task's ``train_batch_size``, or 128. Fewer
        when there are not so many.
    extras : sequence of Extra
        Each adds a loss term or acts around a step or an epoch, such as `fpgmlab.Distill`.
    seed : int
        Of the order of the data, the augmentation and dropout. The same seed gives the same model.
    amp : {"auto", "off", "bfloat16", "float16"}
        Mixed precision: ``"auto"`` uses it on a GPU only, or as ``accelerate launch --mixed_precision`` says. In
        float16 the loss is scaled, and a step whose gradients overflow is left out. On a processor without AVX-512
        bfloat16 takes longer than float32.
    keep : {"best", "last"}
        The weights kept at the end: of the epoch with the best validation metric, or of the last epoch. With ``"best"``
        those that the training began with are measured too, and kept where no epoch is as good; not with extras that
        lead elsewhere, such as `fpgmlab.GammaL1`.
    average : float
        0 <= average < 1: a short way for one more extra, ``fpgmlab.EMA(average)``. 0 is none.
    accumulate : int
        So many batches make a step, passed through one after the other: as with one batch of all their examples, except
        that batch norms see each by itself, and that the loss is the mean of theirs.
    workers : int or "auto"
        Processes that read and augment batches ahead; the batches are the same for any number. ``"auto"``: one for each
        core, 8 at most; to train on a CPU one, if torch leaves a core free (``torch.set_num_threads``), since workers
        on the cores that train make it slower. 0 reads them in between.
    compile : bool
        Let ``torch.compile`` compile the forward pass, which pays in long trainings; a warning tells where it cannot.
    checkpoint : path-like, optional
        A file, written after each epoch, whole or not at all. Called again with the same arguments, a training that was
        killed or stopped goes on after its last epoch and ends with the same weights, to the bit on a CPU. The
        checkpoint of another training is refused. Only tensors, numbers and texts are read from it.
    progress : bool
        Show a progress bar, in a terminal or in a notebook.
    on_epoch : callable, optional
        Called with each finished row of the history.
    on_step : callable, optional
        Called after each step with ``{"epoch", "step", "steps", "loss"}``; steps are counted from 1 over all epochs.
    stop : callable, optional
        Asked before each step; when it returns True, the training ends as by Ctrl-C.

    Returns
    -------
    pandas.DataFrame
        A row for each finished epoch: epoch, train_loss, loss, <task.metric_name>, lr, seconds.
        ``attrs["interrupted"]`` tells whether it was stopped early, ``attrs["kept"]`` the epoch of the weights, 0
        for those that it began with, ``attrs["began"]`` the loss and metric of these where they were measured, and
        ``attrs["resumed"]`` the epoch after which it went on from a checkpoint, or 0.

    Raises
    ------
    TypeError
        When one of the first two stands in the other's place, or a graph in the model's; for extras that are none.
    FloatingPointError
        When the loss is NaN or infinite, with epoch and step; the model has the last good weights.
    ValueError
        For options out of range, a network that the task is not for, when no parameter requires a gradient, for the
        checkpoint of another training, with what differs, and for more processes than examples in a batch.
    OSError
        When no checkpoint can be written; a disk that is full later is only warned of.
    ImportError
        In one of several processes without Accelerate: install ``fpgmlab[accelerate]``.

    Warns
    -----
    UserWarning
        When no epoch was as good as the weights that the training began with, which the model has again. Once for a
        model of whose weights a hundredth or more require no gradient, with their share; for a network that cannot be
        compiled, a processor that half precision makes slower, and a checkpoint that could not be written.

    Notes
    -----
    Launched in several processes, by ``accelerate launch`` or ``torchrun``, each trains on a part of each batch, and
    gradients are averaged, as are the statistics of batch norms: the result is that of one process up to rounding,
    where neither dropout nor a data set draws. Only the first process evaluates, writes, shows progress and calls
    ``on_epoch`` and ``on_step``; ``stop`` is asked in each. It needs ``fpgmlab[accelerate]``.

    Examples
    --------
    >>> pruned = fl.prune(graph, plan)
    >>> history = fl.fit(pruned, task.subset(64, 64), epochs=1, batch_size=32, progress=False)
    >>> list(history.columns)
    ['epoch', 'train_loss', 'loss', 'accuracy', 'lr', 'seconds']
    """
    import pandas as pd

    check_model(model, "fl.fit(model, task)")
    check_task(task, "fl.fit(model, task)")
    check_network(task, model)
    check_extras(extras)
    batch_size = train_batch_size(task, batch_size)
    options = Options(epochs, lr, optimizer, weight_decay, batch_size, accumulate, seed, amp, keep)
    if not 0 <= average < 1:
        raise ValueError(f"average must be at least 0 and less than 1, such as 0.99; got {average}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"{type(model).__name__} has no parameter that requires a gradient: nothing to train. "
            "To thaw them: model.requires_grad_(True)"
        )
    processes = launched(device_of(model))
    if processes.count > min(batch_size, len(task.train)):
        raise ValueError(
            f"{processes.count} processes are more than the examples of a batch: batch_size is {batch_size}, and there "
            f"are {len(task.train)} examples to train on. Launch fewer, or choose a larger batch_size."
        )
    if processes.main:
        _warn_of_frozen(model)
        warn_where_slow(device_of(model), autocast_dtype(device_of(model), amp), 'amp="off"')
    around = Around(workers, compile, checkpoint, progress, on_epoch, on_step, stop)
    loop = Loop(model, task, [*extras, EMA(average)] if average else extras, options, around, processes)
    loop.run()
    columns = ["epoch", "train_loss", "loss", task.metric_name, "lr", "seconds"]
    history = pd.DataFrame(loop.rows, columns=columns)
    kept, began = loop.keeping.epoch, loop.keeping.began
    history.attrs.update(interrupted=loop.interrupted, kept=kept, began=began, resumed=loop.resumed)
    if processes.main and began and not kept and loop.rows:
        _warn_of_nothing_better(history, began, task, lr)
    return history


def _warn_of_nothing_better(history: pd.DataFrame, began: Mapping[str, float], task: Task, lr: float) -> None:
    """Warn that a training has led nowhere."""
    name, values = task.metric_name, history[task.metric_name]
    best = values.max() if task.higher_is_better else values.min()
    warn(
        f"no epoch was as good as the weights that the training began with: {name} {began[name]:.4g} before, "
        f"{best:.4g} in the best of {len(values)}. The model has them again. Lower lr (now {lr:g}), train for more "
        'epochs, or keep="last" to have the last epoch\'s all the same.',
    )


def _warn_of_frozen(model: nn.Module) -> None:
    """Warn when a good part of the weights is not trained: fused layers are like that, and nobody may know."""
    frozen = {name: p.numel() for name, p in model.named_parameters() if not p.requires_grad}
    share = sum(frozen.values()) / sum(p.numel() for p in model.parameters())
    if share < FROZEN or model in _told:
        return
    _told.add(model)
    warn(
        f"{share:.0%} of the weights of {type(model).__name__} require no gradient and stay as they are: "
        f"{len(frozen)} tensors, the first {next(iter(frozen))!r}. Fusing layers leaves them so (ultralytics' fuse(), "
        "libreyolo's fuse_reparam()). If they are not meant to be frozen: model.requires_grad_(True)",
    )

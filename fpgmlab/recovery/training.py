"""Training: one readable loop."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch
from torch import nn

from fpgmlab.common.modules import device_of
from fpgmlab.errors import one_of
from fpgmlab.recovery.extras.ema import EMA
from fpgmlab.recovery.extras.extra import Extra, begun
from fpgmlab.recovery.steps import Steps
from fpgmlab.tasks.evaluation import evaluate
from fpgmlab.tasks.task import Task, train_batch_size

if TYPE_CHECKING:
    import pandas as pd
    from tqdm.auto import tqdm

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
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Train a model in place, on the device where it lies.

    SGD with Nesterov momentum 0.9, or AdamW; the learning rate warms up for 5 % of the steps and then falls along a
    half cosine to zero (Loshchilov & Hutter, 2017, arXiv:1608.03983). Ctrl-C ends the training early and
    leaves a usable model.

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
        Examples in a step; when left out, the task's ``train_batch_size``, or 128. Fewer when there are not so many.
    extras : sequence of Extra
        Each adds a loss term or acts around a step or an epoch, such as `fpgmlab.Distill`.
    seed : int
        Of the order of the data, the augmentation and dropout. The same seed gives the same model.
    amp : {"auto", "off", "bfloat16"}
        Mixed precision: ``"auto"`` uses it on a GPU only.
    keep : {"best", "last"}
        The weights kept at the end: of the epoch with the best validation metric, or of the last epoch.
    average : float
        0 <= average < 1: a short way for one more extra, ``fpgmlab.EMA(average)``. 0 is none.
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
        ``attrs["interrupted"]`` tells whether it was stopped early, ``attrs["kept"]`` the epoch of the weights.

    Raises
    ------
    FloatingPointError
        When the loss is NaN or infinite, with epoch and step; the model has the last good weights.
    ValueError
        For options out of range, and when no parameter requires a gradient.

    Warns
    -----
    UserWarning
        Once for a model of whose weights a hundredth or more require no gradient, with their share.
    """
    import pandas as pd

    batch_size = train_batch_size(task, batch_size)
    _check(epochs, lr, optimizer, batch_size, amp, keep, average)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"{type(model).__name__} has no parameter that requires a gradient: nothing to train. "
            "To thaw them: model.requires_grad_(True)"
        )
    _warn_of_frozen(model)
    device = device_of(model)
    modes = {module: module.training for module in model.modules()}
    batches = max(1, len(task.train) // batch_size)
    total = epochs * batches
    extras = [*extras, EMA(average)] if average else extras
    rows: list[dict[str, float]] = []
    best: float | None = None
    good, kept, interrupted = copy.deepcopy(model.state_dict()), 0, False

    try:
        with (
            _seeded(seed, device),
            begun(extras, model, task, epochs, total) as running,
            _bar(total, progress) as bar,
        ):
            steps = Steps(model, task, running, total, optimizer, lr, weight_decay, amp)
            for epoch in range(1, epochs + 1):
                started, losses, step = time.perf_counter(), torch.zeros((), device=device), 0
                model.train()
                for step, (inputs, targets) in enumerate(task.train_batches(batch_size, seed=seed * 10007 + epoch), 1):
                    if stop is not None and stop():
                        raise KeyboardInterrupt
                    now = (epoch - 1) * batches + step
                    loss = steps.loss(inputs, targets)
                    if not torch.isfinite(loss):
                        since = f"after epoch {kept}" if kept else "from before the training"
                        raise FloatingPointError(
                            f"the loss is {loss.item()} in epoch {epoch}, step {step}; the model has its weights "
                            f"{since} again. Lower lr (now {lr:g})."
                        )
                    steps.step(loss, now)
                    losses += loss.detach()
                    if on_step is not None:
                        on_step({"epoch": epoch, "step": now, "steps": total, "loss": loss.item()})
                    bar.update()
                    if step % 10 == 0:
                        bar.set_postfix_str(f"epoch {epoch}/{epochs}, loss {losses.item() / step:.3f}", refresh=False)
                if not step:
                    raise ValueError(f"task.train_batches({batch_size}) gave no batch: choose a smaller batch_size")
                for extra in running:
                    extra.before_judging(model, steps.judged)
                row = {"epoch": epoch, "train_loss": losses.item() / step} | evaluate(steps.judged, task)
                row |= {"lr": steps.lr, "seconds": time.perf_counter() - started}
                row.pop("samples")
                rows.append(row)
                value = row[task.metric_name] if task.higher_is_better else -row[task.metric_name]
                if keep == "last" or best is None or value > best:
                    good, kept, best = copy.deepcopy(steps.judged.state_dict()), epoch, value
                if on_epoch is not None:
                    on_epoch(row)
                if any([extra.after_epoch(model, row) for extra in running]):  # each is asked
                    break
        model.load_state_dict(good)
    except KeyboardInterrupt:
        interrupted = True
        if kept:
            model.load_state_dict(good)
    except FloatingPointError:
        model.load_state_dict(good)
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
    columns = ["epoch", "train_loss", "loss", task.metric_name, "lr", "seconds"]
    history = pd.DataFrame(rows, columns=columns)
    history.attrs.update(interrupted=interrupted, kept=kept)
    return history


def _check(epochs: int, lr: float, optimizer: str, batch_size: int, amp: str, keep: str, average: float) -> None:
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    if not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr must be a positive number; got {lr}")
    if not 0 <= average < 1:
        raise ValueError(f"average must be at least 0 and less than 1, such as 0.99; got {average}")
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2 (batch norm); got {batch_size}")
    for name, value, allowed in (
        ("optimizer", optimizer, ("sgd", "adamw")),
        ("amp", amp, ("auto", "off", "bfloat16")),
        ("keep", keep, ("best", "last")),
    ):
        if value not in allowed:
            raise ValueError(one_of(name, value, allowed))


def _warn_of_frozen(model: nn.Module) -> None:
    """Warn when a good part of the weights is not trained: fused layers are like that, and nobody may know."""
    frozen = {name: p.numel() for name, p in model.named_parameters() if not p.requires_grad}
    share = sum(frozen.values()) / sum(p.numel() for p in model.parameters())
    if share < FROZEN or model in _told:
        return
    _told.add(model)
    warnings.warn(
        f"{share:.0%} of the weights of {type(model).__name__} require no gradient and stay as they are: "
        f"{len(frozen)} tensors, the first {next(iter(frozen))!r}. Fusing layers leaves them so (ultralytics' fuse(), "
        "libreyolo's fuse_reparam()). If they are not meant to be frozen: model.requires_grad_(True)",
        UserWarning,
        stacklevel=3,
    )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators (dropout draws from them); they are as before on exit."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _bar(steps: int, progress: bool) -> tqdm:
    from tqdm.auto import tqdm

    return tqdm(total=steps, disable=not progress, unit="batch", desc="fit", leave=False)

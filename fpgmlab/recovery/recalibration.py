"""Recalibration: the running statistics of batch norms, estimated anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call, taking
from fpgmlab.common.given import check_model, check_task
from fpgmlab.common.modules import device_of
from fpgmlab.common.numbers import whole_number
from fpgmlab.tasks.task import Task, train_batch_size


def recalibrate(model: nn.Module, task: Task, *, batches: int = 8, batch_size: int | None = None) -> None:
    """Estimate the running statistics of a model's batch norms anew on training data, in place; no weight changes.

    After pruning, the means and variances that batch norms keep are those of sums that had more terms. Each becomes
    the plain average of what the batches give in train mode (`torch.optim.swa_utils.update_bn`); by a moving one Li et
    al. judge pruned networks (*EagleEye*, ECCV 2020, arXiv:2007.02491). Dropout draws from a fixed seed, so that the
    same model and data give the same statistics. A model without batch norms stays as it is.

    Parameters
    ----------
    model : nn.Module
        Its train/eval mode is the same afterwards as before; after an exception, so are the statistics.
    task : task
        Its training data is used: the first of ``task.train_batches(batch_size, seed=0)``.
    batches : int
        How many; all when there are fewer.
    batch_size : int, optional
        At least 2; when left out, the task's ``train_batch_size``, or 128.

    Raises
    ------
    TypeError
        When one of them stands in the other's place, or a graph in the model's.
    ValueError
        For numbers out of range, and a network that does not run on the task's inputs.

    Examples
    --------
    >>> pruned = fl.prune(graph, plan)
    >>> fl.recalibrate(pruned, task, batches=1)
    """
    check_model(model, "fl.recalibrate(model, task)")
    check_task(task, "fl.recalibrate(model, task)")
    batch_size = train_batch_size(task, batch_size)
    whole_number("batches", batches)
    whole_number("batch_size", batch_size, 2)
    inputs = training_inputs(task, batches, batch_size)
    with taking(model, inputs[:1], task):
        estimate(model, inputs)


def training_inputs(task: Task, batches: int = 8, batch_size: int | None = None) -> list[object]:
    """Return the inputs of a task's first training batches."""
    size = train_batch_size(task, batch_size)
    return [inputs for inputs, _ in islice(task.train_batches(size, seed=0), batches)]


def estimate(model: nn.Module, batches: Sequence[object]) -> None:
    """Estimate the running statistics of a model's batch norms anew on batches of inputs, in place."""
    device = device_of(model)
    with _kept(model), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        update_bn(((on_device(inputs, device),) for inputs in batches), _Called(model))


class _Called(nn.Module):
    """A model that is called as its inputs say: one tensor, or arguments."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: object) -> object:
        return call(self.model, inputs)


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the running statistics of a model's batch norms, by dotted name; the tensors themselves."""
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    return {
        f"{name}.{key}": buffer for name, norm in norms.items() for key, buffer in norm.named_buffers(recurse=False)
    }


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Restore each module's mode and momentum on exit, after an exception also the statistics."""
    modes = {module: module.training for module in model.modules()}
    momenta = {module: module.momentum for module in modes if isinstance(module, _BatchNorm)}
    before = {name: buffer.clone() for name, buffer in statistics(model).items()}
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for name, buffer in statistics(model).items():
                buffer.copy_(before[name])
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in momenta.items():
            norm.momentum = momentum

"""A model called as its example input says, and left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fpgmlab.common.holdings import keeping
from fpgmlab.common.modules import eval_mode, tensors_in


def call(model: nn.Module, example_input: object) -> object:
    """Return what a model gives for an example input.

    Parameters
    ----------
    model : nn.Module
    example_input : object
        One tensor or list, a tuple of positional or a dict of keyword arguments.
    """
    if isinstance(example_input, dict):
        return model(**example_input)
    if isinstance(example_input, tuple):
        return model(*example_input)
    return model(example_input)


@contextmanager
def taking(model: nn.Module, inputs: object, task: object) -> Iterator[None]:
    """Tell of an error in the block, in which a model runs on a task's first inputs, that the two may not fit.

    Raises
    ------
    ValueError
        With the error of the network, where that is one of torch or of plain Python and memory has not run out.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        if type(error) not in (RuntimeError, ValueError, TypeError) or "memory" in str(error).lower():
            raise
        shapes = [tuple(tensor.shape) for tensor in tensors_in(inputs)]
        name = getattr(task, "name", type(task).__name__)
        raise ValueError(
            f"{type(model).__name__} does not run on the inputs of the task {name!r}, {shapes}: "
            f"{str(error).rstrip('.')}. Give a network that takes them, or the task that it is for"
        ) from error


@contextmanager
def left_as_it_is(model: nn.Module) -> Iterator[None]:
    """Undo on exit what a forward pass writes to a model; yields nothing.

    Attributes, the contents of containers in attributes and of those that hooks hold, new values of parameters and
    buffers; of buffers also in place.
    """
    tables = ("_parameters", "_buffers", "_modules")
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    before = [(m, dict(vars(m)), {t: dict(vars(m)[t]) for t in tables}) for m in modules]
    restore_containers = keeping(model)
    parameters = [(parameter, parameter.data) for parameter in model.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        restore_containers()
        for parameter, data in parameters:
            if parameter.data_ptr() != data.data_ptr():
                parameter.data = data
        for module, attributes, entries in before:
            vars(module).clear()
            vars(module).update(attributes)
            for table, saved in entries.items():
                attributes[table].clear()
                attributes[table].update(saved)
        with torch.no_grad():
            for buffer, copy in buffers:
                if not buffer.is_meta and not torch.equal(
                    buffer, copy
                ):  # a batch norm in training writes without a change of version
                    buffer.copy_(copy)


def is_random(model: nn.Module, run: Callable[[], object]) -> bool:
    """Tell whether a model answers the same input differently, in eval mode too; it is left as it is.

    Parameters
    ----------
    model : nn.Module
    run : callable
        Calls it with that input.
    """
    with torch.no_grad(), eval_mode(model), left_as_it_is(model):
        one, other = ([tensor.detach().clone() for tensor in tensors_in(run())] for _ in range(2))
    if [tensor.shape for tensor in one] != [tensor.shape for tensor in other]:
        return True
    pairs = zip(one, other, strict=True)
    return not all(torch.allclose(a.double(), b.double(), rtol=1e-3, equal_nan=True) for a, b in pairs)

"""Tracing: one forward pass in which every channel carries a number (see `fpgmlab.labels`).

The pass runs the model's own code, so any control flow, in-place operation or reuse of a layer is seen as it happens.
What is not understood is never guessed: the channels that go into it are frozen, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from fpgmlab.layers import TracedLayer
from fpgmlab.modules import eval_mode, tensors_in
from fpgmlab.recorder import LabelMode, Trace, TracingError

__all__ = ["Trace", "TracedLayer", "TracingError", "call", "left_as_it_is", "trace_labels"]


def trace_labels(model: nn.Module, example_input: object) -> Trace:
    """Run a model once in eval mode and record which channels belong together.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    example_input : Tensor, tuple or dict
        What the model is called with: one tensor, positional or keyword arguments.

    Raises
    ------
    TracingError
        When the forward pass fails, or its outputs come from code that cannot be seen; with the module's name.
    """
    lazy = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise TracingError(
            f"{type(model).__name__} has no weights yet ({lazy[0]!r} is lazy): run it once, then trace it."
        )
    mode = LabelMode(model, batch=next((len(t) for t in tensors_in(example_input) if t.ndim), 1))
    with left_as_it_is(model), eval_mode(model), torch.inference_mode(False), torch.enable_grad(), mode.watching(model):
        arguments = pytree.tree_map(mode.differentiable, example_input)
        try:
            with mode.unseen, mode:
                outputs = call(model, arguments)
        except TracingError:
            raise
        except Exception as error:
            shapes = [tuple(tensor.shape) for tensor in tensors_in(example_input)]
            raise TracingError(
                f"{type(model).__name__} could not be traced: its forward pass with example_input {shapes} failed in "
                f"{mode.where}: {error}. Pass an example_input that the model takes, on the model's device."
            ) from error
        mode.finish(list(_outputs(outputs)))
    return mode.trace


def call(model: nn.Module, example_input: object) -> object:
    """Call a model with one tensor, a tuple of positional or a dict of keyword arguments."""
    if isinstance(example_input, dict):
        return model(**example_input)
    if isinstance(example_input, tuple):
        return model(*example_input)
    return model(example_input)


@contextmanager
def left_as_it_is(model: nn.Module) -> Iterator[None]:
    """Undo on exit what a forward pass writes to a model: attributes, and buffers also in place."""
    tables = ("_parameters", "_buffers", "_modules")
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    before = [(m, dict(vars(m)), {t: dict(vars(m)[t]) for t in tables}) for m in modules]
    buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, attributes, entries in before:
            vars(module).clear()
            vars(module).update(attributes)
            for table, saved in entries.items():
                attributes[table].clear()
                attributes[table].update(saved)
        with torch.no_grad():
            for buffer, version, copy in buffers:
                if buffer._version != version:
                    buffer.copy_(copy)


def _outputs(value: object) -> Iterator[Tensor]:
    """Yield a model's output tensors, also those in objects with slots."""
    yield from tensors_in(value)
    if not isinstance(value, (Tensor, dict, tuple, list)) and not hasattr(value, "__dict__"):
        yield from tensors_in([getattr(value, name, None) for name in getattr(type(value), "__slots__", ())])

"""A model called as its example input says, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def call(model: nn.Module, example_input: object) -> object:
    """Call a model with one tensor or list, a tuple of positional or a dict of keyword arguments."""
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

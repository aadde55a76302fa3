"""Small helpers on ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(model: nn.Module, training: bool = False) -> Iterator[nn.Module]:
    """Put a model into eval mode and yield it, or into ``training`` mode; on exit each module is in the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


def forget_caches(model: nn.Module) -> None:
    """Let modules drop what they keep for evaluation and drop where training begins, such as LeViT's attention biases.

    Modules that say themselves what happens there are told that it does; each stays in the mode it has.
    """
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        if type(module).train is not nn.Module.train:
            module.train()
    for module, mode in modes.items():
        module.training = mode


@contextmanager
def channels_last(model: nn.Module, wanted: bool = True) -> Iterator[nn.Module]:
    """Lay a model's 4-D weights out with channels last, which convolutions on CPUs prefer; on exit as they were.

    Not ``wanted``, they stay as they are; see `fpgmlab.common.layout.bears_channels_last`.

    Yields
    ------
    nn.Module
        The model itself.
    """
    before = [(p, p.data) for p in model.parameters() if p.ndim == 4 and wanted]
    try:
        for parameter, data in before:
            parameter.data = data.contiguous(memory_format=torch.channels_last)
        yield model
    finally:
        for parameter, data in before:
            parameter.data = data


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter; the CPU for a model without any."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def tensor_of(module: nn.Module, name: str) -> Tensor:
    """Return a module's own parameter or buffer of a name, which type checkers know as ``Tensor | Module``.

    Returns
    -------
    Tensor
        Of any shape.

    Raises
    ------
    TypeError
        For the name of something else.
    """
    tensor = getattr(module, name)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name!r} of {type(module).__name__} must be a tensor; it is {type(tensor).__name__}")
    return tensor


def tensor_at(modules: Mapping[str, nn.Module], name: str) -> Tensor:
    """Return a parameter or buffer by its dotted name, of a network's modules by theirs; errors as `tensor_of`."""
    module, key = split_name(name)
    return tensor_of(modules[module], key)


def named_tensors(model: nn.Module) -> dict[int, str]:
    """Return ``{id(tensor): dotted name}`` of a model's parameters and buffers; a shared one has its first name."""
    names: dict[int, str] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        names.setdefault(id(tensor), name)
    return names


def split_name(name: str) -> tuple[str, str]:
    """Return the module's name and the tensor's own, of a tensor's dotted name.

    Examples
    --------
    >>> fl.common.split_name("layer1.0.conv1.weight")
    ('layer1.0.conv1', 'weight')
    """
    module, _, tensor = name.rpartition(".")
    return module, tensor


def full_name(module: str, tensor: str) -> str:
    """Return the dotted name of a module's tensor; of the whole model, whose name is empty, the tensor's own.

    Examples
    --------
    >>> fl.common.full_name("layer1.0.conv1", "weight"), fl.common.full_name("", "weight")
    ('layer1.0.conv1.weight', 'weight')
    """
    return f"{module}.{tensor}" if module else tensor


def stage(name: str) -> str:
    """Return the part of a network that a module belongs to, by its name: down to the first part with a number.

    >>> [stage(name) for name in ("conv1", "layer3.0.conv2", "features.3", "model.4.cv1.conv", "body.layer1.0.conv1")]
    ['conv1', 'layer3', 'features', 'model.4', 'body.layer1']
    """
    parts = name.split(".")
    numbered = [i for i, part in enumerate(parts[:-1]) if any(letter.isdigit() for letter in part)]
    return ".".join(parts[: numbered[0] + 1]) if numbered else parts[0]


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors of a value, in order: in nested tuples, lists, dicts and objects with attributes."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dict__") and not isinstance(value, nn.Module):
        yield from tensors_in(vars(value))

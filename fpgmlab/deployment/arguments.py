"""What a network is called with, flat and with names, as an exported file takes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fpgmlab.common.given import check_example
from fpgmlab.common.modules import tensors_in


@dataclass(frozen=True, eq=False)
class Arguments:
    """A network's arguments: one tensor, a tuple of positional or a dict of keyword arguments.

    Attributes
    ----------
    args, kwargs
        To call it with.
    """

    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    @classmethod
    def of(cls, example_input: object) -> Arguments:
        """Return what an example input means, see `fpgmlab.trace`; a `TypeError` for what is none."""
        check_example(example_input, "fl.export_onnx(model, example_input, path)")
        if isinstance(example_input, dict):
            return cls((), example_input)
        return cls(example_input if isinstance(example_input, tuple) else (example_input,), {})

    @property
    def named(self) -> dict[str, Tensor]:
        """The tensors by name: ``input``, or ``input_0``, ...; keyword arguments have their own names."""
        positional = list(tensors_in(self.args))
        named = {"input" if len(positional) == 1 else f"input_{i}": tensor for i, tensor in enumerate(positional)}
        for key, value in self.kwargs.items():
            found = list(tensors_in(value))
            named |= {key if len(found) == 1 else f"{key}_{i}": tensor for i, tensor in enumerate(found)}
        return named

    @property
    def batch(self) -> int | None:
        """How many examples there are; None where the tensors have no batch (a list of pictures)."""
        first = next((item for item in (*self.args, *self.kwargs.values()) if list(tensors_in(item))), None)
        tensor = next(tensors_in(first), None)
        return len(tensor) if isinstance(first, Tensor) and tensor is not None and tensor.ndim else None

    def is_batched(self, tensor: Tensor) -> bool:
        """Tell whether a tensor has an entry for each example."""
        return self.batch is not None and tensor.ndim > 0 and len(tensor) == self.batch

    def map(self, change: Callable[[Tensor], Tensor]) -> Arguments:
        """Return the same arguments with other tensors."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, dict(self.kwargs)))
        return Arguments(args, kwargs)

    def take(self, count: int) -> Arguments:
        """Return the first examples."""
        return self.map(lambda tensor: tensor[:count] if self.is_batched(tensor) else tensor)

    def times(self, count: int) -> Arguments:
        """Return so many examples, these over and over."""
        return self.map(lambda t: t[torch.arange(count) % len(t)] if self.is_batched(t) else t)

    def doubled(self) -> Arguments:
        """Return every example twice."""
        return self.map(lambda tensor: torch.cat([tensor, tensor]) if self.is_batched(tensor) else tensor)

    def random(self, count: int, seed: int = 0) -> Arguments:
        """Return so many made-up examples: of the same mean and deviation, whole numbers of the same range."""
        generator = torch.Generator().manual_seed(seed)

        def made(tensor: Tensor) -> Tensor:
            if not self.is_batched(tensor):
                return tensor
            shape = (count, *tensor.shape[1:])
            if tensor.is_floating_point():
                noise = torch.randn(shape, generator=generator).to(tensor)
                return noise * tensor.std(correction=0) + tensor.mean()
            low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, 0)
            return torch.randint(low, high + 1, shape, generator=generator).to(tensor)

        return self.map(made)

    def call(self, model: nn.Module) -> object:
        """Call a model with them."""
        return model(*self.args, **self.kwargs)

    def dynamic(self, model: nn.Module, dim: object) -> dict[str, Any]:
        """Return which dimensions are free, as torch's exporter wants to be told: the batch of batched tensors."""

        def free(leaf: object) -> dict[int, object] | None:
            return {0: dim} if isinstance(leaf, Tensor) and self.is_batched(leaf) else None

        bound = inspect.signature(model.forward).bind(*self.args, **self.kwargs)
        return {name: pytree.tree_map(free, value) for name, value in bound.arguments.items()}


def output_names(outputs: object, taken: Sequence[str]) -> list[str]:
    """Return a name for each tensor that a network gives.

    Parameters
    ----------
    outputs : object
        A dict's tensors have its keys; a single one is ``output``, others ``output_0``, ``output_1`` and so on.
    taken : sequence of str
        Names of inputs: an output of that name has ``_output`` behind it.
    """
    if isinstance(outputs, Mapping) and all(isinstance(value, Tensor) for value in outputs.values()):
        names = [str(key) for key in outputs]
    else:
        count = len(list(tensors_in(outputs)))
        names = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
    return [f"{name}_output" if name in taken else name for name in names]


def feed_of(session: Any, arguments: Arguments) -> dict[str, np.ndarray]:
    """Return what an ONNX Runtime session takes; inputs that the file does not use are left out."""
    named = {name: tensor.detach().cpu().numpy() for name, tensor in arguments.named.items()}
    wanted = [entry.name for entry in session.get_inputs()]
    return {name: named[name] for name in wanted}

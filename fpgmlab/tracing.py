"""Tracing: one forward pass in which every channel carries a number (see `fpgmlab.labels`).

The pass runs the model's own code, so any control flow, in-place operation or reuse of a layer is seen as it happens.
What is not understood is never guessed: the channels that go into it are frozen, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from fpgmlab.labels import give_up, rule_for, unique_pairs, words
from fpgmlab.layers import TracedLayer, layer_rule, makes_channels
from fpgmlab.modules import eval_mode, named_tensors, split_name, tensors_in
from fpgmlab.movement import MOVEMENT, SIZED, move
from fpgmlab.widths import Width, widths_in, with_widths

# What tells nothing about channels, or only what a pruned tensor would tell as well.
_HARMLESS = words(
    """device dtype layout requires_grad is_leaf grad grad_fn ndim dim ndimension is_cuda is_cpu is_mps is_meta
    is_sparse is_quantized is_mkldnn is_nested is_floating_point is_complex is_contiguous is_pinned is_inference
    is_same_size is_tensor is_autocast_enabled element_size itemsize get_device names output_nr version name
    storage_offset register_hook retain_grad hash repr str format isinstance result_type promote_types can_cast type"""
)


class TracingError(ValueError):
    """A model that could not be traced; the message says where."""


@dataclass
class Trace:
    """Everything that one labelled forward pass has seen."""

    layers: dict[str, TracedLayer] = field(default_factory=dict)
    pairs: list[np.ndarray] = field(default_factory=list)  # each (n, 2): labels of one and the same channel
    frozen: list[tuple[np.ndarray, str]] = field(default_factory=list)
    parts: list[list[np.ndarray]] = field(default_factory=list)  # label vectors that must stay equally long
    labels: int = 1  # the next free label
    other_macs: int = 0  # of convolutions and linear layers whose channels nobody can remove


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
    mode = _LabelMode(model, batch=next((len(t) for t in tensors_in(example_input) if t.ndim), 1))
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


class _Unseen(TorchDispatchMode):
    """Sees what is computed outside of torch functions: by a script or other compiled code."""

    def __init__(self, tracer: _LabelMode) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_dispatch__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        if self.tracer.inside:
            return func(*args, **(kwargs or {}))
        with self.tracer.running(), torch._C.DisableTorchFunction():
            out = func(*args, **(kwargs or {}))
            tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            give_up(self.tracer, tensors, f"enters code that tracing cannot see ({func}, in a script or the like)")
            for result in tensors_in(out):
                self.tracer.put(result, None)
        return out


class _LabelMode(TorchFunctionMode):
    """Sees every torch function of a forward pass and gives its results their labels."""

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.trace = Trace()
        self.unseen = _Unseen(self)
        self.inside = 0  # torch functions that are running
        self.modules = dict(model.named_modules())
        self.names = named_tensors(model)
        self.stack: list[str] = []
        self.label_of = WeakTensorKeyDictionary()
        self.other_uses: dict[str, str] = {}  # a model's tensor: what else than its layer takes it
        self.claimed: set[str] = set()  # layers and tensors that the running torch function was recorded for

    def differentiable(self, leaf: object) -> object:
        """Return a copy of an input that gives every result a grad_fn: a result without a label was computed unseen."""
        if isinstance(leaf, Tensor):
            leaf = leaf.detach().clone()
            leaf = leaf.requires_grad_() * 1 if leaf.is_floating_point() else leaf
            self.put(leaf, None)
        return leaf

    @property
    def where(self) -> str:
        return repr(self.stack[-1]) if self.stack and self.stack[-1] else "the model itself"

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self.stack.append(name)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self, *_: object) -> None:
        self.stack.pop()

    def finish(self, outputs: Sequence[Tensor]) -> None:
        """Freeze what leaves the model, and layers whose tensors something else takes as well."""
        for output in outputs:
            self._check_seen(output, "return")
            self.freeze(self.get(output), "it is the model's output")
        for layer in self.trace.layers.values():
            own = [
                n for n in self.names.values() if layer.name in ((n,) if layer.kind == "tensor" else split_name(n)[:1])
            ]
            tensors = {n for n, other in self.trace.layers.items() if other.kind == "tensor" and other is not layer}
            used = next((n for n in own if n in self.other_uses or n in tensors), None)
            if used is not None:
                by = self.other_uses.get(used, "an elementwise operation")
                for labels in (layer.inputs, layer.outputs):
                    self.freeze(None if labels is None else torch.from_numpy(labels), f"{used!r} also enters {by!r}")

    # What the rules in fpgmlab.labels, movement and layers call ------------------------------------------------------

    def get(self, tensor: Tensor) -> Tensor | None:
        return self.label_of.get(tensor)

    def put(self, tensor: object, label: Tensor | None) -> None:
        if isinstance(tensor, Tensor):
            self.label_of[tensor] = label

    def tie(self, left: Tensor, right: Tensor) -> None:
        pairs = unique_pairs(left, right)
        fixed = (pairs == 0).any(dim=1)
        self.freeze(pairs[fixed], "added to channels of fixed width")
        self.trace.pairs.append(pairs[~fixed].numpy())

    def freeze(self, label: Tensor | None, reason: str) -> None:
        if label is not None:
            self.freeze_ids(label.reshape(-1).numpy(), reason)

    def freeze_ids(self, ids: np.ndarray, reason: str) -> None:
        """Freeze channels without a torch function: the model's own code may be running."""
        ids = np.unique(ids[ids > 0])
        if len(ids):
            place = f" in {self.where}" if self.stack else ""
            self.trace.frozen.append((ids, reason + place))

    def equal_parts(self, parts: Sequence[Tensor]) -> None:
        self.trace.parts.append([part.numpy() for part in parts])

    def is_model_tensor(self, tensor: Tensor) -> bool:
        return id(tensor) in self.names

    def slice_model_tensor(self, tensor: Tensor, dim: int, label: Tensor) -> None:
        self.record(TracedLayer(self.names[id(tensor)], "tensor", outputs=label.numpy(), dim=dim))

    def name_of(self, tensor: Tensor | None) -> str | None:
        return self.names.get(id(tensor))

    def known(self, layer: str) -> TracedLayer | None:
        return self.trace.layers.get(layer)

    def record(self, layer: TracedLayer) -> None:
        """Add a layer; one that runs twice must see the same channels twice."""
        self.claimed.add(layer.name)
        known = self.trace.layers.setdefault(layer.name, layer)
        if known is layer:
            return
        same = (known.kind, known.dim, known.groups) == (layer.kind, layer.dim, layer.groups)
        for mine, other in ((known.inputs, layer.inputs), (known.outputs, layer.outputs)):
            if mine is None or other is None:
                continue
            if same and mine.shape == other.shape:
                self.tie(torch.from_numpy(mine), torch.from_numpy(other))
            else:
                for labels in (mine, other):
                    self.freeze(torch.from_numpy(labels), f"{layer.name!r} is used in two ways")
        known.positions += layer.positions

    def new_labels(self, count: int) -> Tensor:
        start = self.trace.labels
        self.trace.labels += count
        return torch.arange(start, start + count)

    def add_macs(self, macs: int) -> None:
        self.trace.other_macs += macs

    def current_module(self) -> str:
        return self.stack[-1] if self.stack else ""

    # One torch function --------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        with self.running():
            self.claimed = set()
            return self._see(func, types, args, kwargs or {})

    @contextmanager
    def running(self) -> Iterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def _see(self, func: Callable, types: Sequence, args: tuple, kwargs: dict) -> Any:
        name = getattr(func, "__name__", str(func)).strip("_")
        if name in {"get", "set"}:  # a property such as x.T, x.shape, x.data
            name = (
                getattr(getattr(func, "__self__", None), "__name__", name) if name == "get" else "a property's change"
            )
        if name == "iter":
            return iter(self._see(torch.unbind, types, args[:1], {}))
        leaves = pytree.tree_leaves((args, kwargs))
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        for tensor in inputs:
            self._check_seen(tensor, name)
        if not args and "input" in kwargs:
            args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
        label = self.get(args[0]) if args and isinstance(args[0], Tensor) else None
        if label is not None and name in {"shape", "size", "numel", "nelement", "len"}:
            return self._count(name, args, kwargs, label)
        self._check_widths(name, widths_in(leaves), inputs)
        out = func(*args, **kwargs)
        results = list(tensors_in(out))
        for result in results:
            if result not in self.label_of:
                self.put(result, None)
        if any(self.get(tensor) is not None for tensor in inputs) or makes_channels(name):
            self._apply(name, func, args, kwargs, out)
        for owned in filter(self.is_model_tensor, inputs):
            full = self.name_of(owned)
            if not {full, split_name(full)[0]} & self.claimed and any(result is not owned for result in results):
                self.other_uses.setdefault(full, name)
        return out

    def _apply(self, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
        results = list(tensors_in(out))
        if (rule := layer_rule(name)) is not None:
            rule(self, name, args, kwargs, out)
        elif name in MOVEMENT and results:
            move(self, name, func, args, kwargs, out)
        elif (rule := rule_for(name)) is not None and results:
            rule(self, name, func, args, kwargs, out)
        elif name not in _HARMLESS:
            tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            give_up(self, tensors, f"enters {name!r}, which mixes or hides channels,")
            for result in results:
                self.put(result, None)

    def _count(self, name: str, args: tuple, kwargs: dict, label: Tensor) -> Any:
        ids = label.reshape(-1).numpy()
        sizes = with_widths(Tensor.size(args[0]), label, ids, self._relied_on)
        if name in {"numel", "nelement"}:
            count = args[0].numel()
            return Width.of(count, ids, self._relied_on) if label.numel() > 1 else count
        if name == "len":
            if label.size(0) > 1:
                self.freeze(label, "its number of channels is asked for by 'len'")
            return int.__add__(sizes[0], 0)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return sizes if dim is None else sizes[dim]

    def _relied_on(self, ids: np.ndarray, reason: str) -> None:
        if self.inside == 0:  # the model's own code, not that of a torch function
            self.freeze_ids(ids, reason)

    def _check_widths(self, name: str, widths: list[Width], inputs: list[Tensor]) -> None:
        """A number of channels may shape the tensor that it was read from; anything else relies on it."""
        labels = [self.get(tensor) for tensor in inputs]
        if name in SIZED and any(label is not None for label in labels):
            return  # the rule looks where they stand
        for width in widths:
            own = any(label is not None and np.isin(width.ids, label.numpy()).all() for label in labels)
            if not own or name != "split":
                self.freeze_ids(width.ids, f"its number of channels shapes another tensor through {name!r}")

    def _check_seen(self, tensor: Tensor, name: str) -> None:
        if tensor.grad_fn is not None and tensor not in self.label_of and not self.is_model_tensor(tensor):
            raise TracingError(
                f"a tensor that {name!r} takes in {self.where} was computed by code that tracing cannot see (a "
                "scripted module, a custom autograd function). Replace that part by plain torch operations."
            )

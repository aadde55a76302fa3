"""Tracing: one forward pass in which every channel carries a number (see `fpgmlab.graph.tracing.labels`).

The pass runs the model's own code, so any control flow, in-place operation or reuse of a layer is seen as it happens.
What is not understood is never guessed: the channels that go into it are frozen, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode, split_name, tensors_in
from fpgmlab.graph.tracing.labels import give_up, rule_for, words
from fpgmlab.graph.tracing.layers import layer_rule, makes_channels
from fpgmlab.graph.tracing.movement import MOVEMENT, move
from fpgmlab.graph.tracing.recorder import Trace, TraceRecorder, TracingError
from fpgmlab.graph.tracing.widths import Width, widths_in, with_widths

# What tells nothing about channels, or only what a pruned tensor would tell as well.
_HARMLESS = words(
    """device dtype layout requires_grad is_leaf grad grad_fn ndim dim ndimension is_cuda is_cpu is_mps is_meta
    is_sparse is_quantized is_mkldnn is_nested is_floating_point is_complex is_contiguous is_pinned is_inference
    is_same_size is_tensor is_autocast_enabled element_size itemsize get_device names output_nr version name
    storage_offset register_hook retain_grad hash repr str format isinstance result_type promote_types can_cast type"""
)


def trace_labels(model: nn.Module, example_input: object) -> Trace:
    """Run a model once in eval mode and record which channels belong together.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    example_input : Tensor, list, tuple or dict
        What the model is called with: one tensor or list (of pictures), positional or keyword arguments.

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
    mode = _LabelMode(model, batch=_examples(example_input))
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
                f"{mode.to.where}: {error}. Pass an example_input that the model takes, on the model's device."
            ) from error
        for output in _outputs(outputs):
            mode.to.check_seen(output, "return")
            mode.to.freeze(mode.to.get(output), "it is the model's output")
        mode.to.finish()
    return mode.to.trace


def _examples(example_input: object) -> int:
    """Return the number of examples; pictures in a list, as torchvision's detectors take them, have no batch."""
    items = tuple(example_input.values()) if isinstance(example_input, dict) else example_input
    for item in items if isinstance(items, tuple) else (items,):
        tensors = list(tensors_in(item))
        if isinstance(item, list) and tensors and all(tensor.ndim == 3 for tensor in tensors):
            return len(tensors)
        if batched := [tensor for tensor in tensors if tensor.ndim]:
            return len(batched[0])
    return 1


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
            give_up(self.tracer.to, tensors, f"enters code that tracing cannot see ({func}, in a script or the like)")
            for result in tensors_in(out):
                self.tracer.to.put(result, None)
        return out


class _LabelMode(TorchFunctionMode):
    """Sees every torch function of a forward pass and gives its results their labels."""

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.to = TraceRecorder(model, batch)
        self.unseen = _Unseen(self)
        self.inside = 0  # torch functions that are running

    def differentiable(self, leaf: object) -> object:
        """Return a copy of an input that gives every result a grad_fn: a result without a label was computed unseen."""
        if isinstance(leaf, Tensor):
            leaf = leaf.detach().clone()
            leaf = leaf.requires_grad_() * 1 if leaf.is_floating_point() else leaf
            self.to.put(leaf, None)
        return leaf

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self.to.stack.append(name)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self, *_: object) -> None:
        self.to.stack.pop()

    # One torch function --------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        with self.running():
            self.to.claimed = set()
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
            self.to.check_seen(tensor, name)
        if not args and "input" in kwargs:
            args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
        label = self.to.get(args[0]) if args and isinstance(args[0], Tensor) else None
        if label is not None and name in {"shape", "size", "numel", "nelement", "len"}:
            return self._count(name, args, kwargs, label)
        own = self.to.per_channel(name, inputs)
        for layer, tensor in own:
            self.to.put(tensor, torch.from_numpy(layer.outputs).reshape(tensor.shape))
        self.to.check_widths(name, widths_in(leaves), inputs)
        out = func(*args, **kwargs)
        results = list(tensors_in(out))
        for result in results:
            if result not in self.to.label_of:
                self.to.put(result, None)
        if not any(result is tensor for result in results for tensor in inputs):
            for layer, _ in own:
                self.to.record(layer)
        if any(self.to.get(tensor) is not None for tensor in inputs) or makes_channels(name):
            self._apply(name, func, args, kwargs, out)
        for _, tensor in own:
            self.to.put(tensor, None)
        for owned in filter(self.to.is_model_tensor, inputs):
            full = self.to.names[id(owned)]
            if not {full, split_name(full)[0]} & self.to.claimed and any(result is not owned for result in results):
                self.to.other_uses.setdefault(full, name)
        return out

    def _apply(self, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
        results = list(tensors_in(out))
        if (rule := layer_rule(name)) is not None:
            others = [leaf for leaf in pytree.tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
            give_up(self.to, [other for other in others if other is not args[0]], f"enters {name!r} beside its input")
            if self.to.get(args[0]) is not None or makes_channels(name):
                rule(self.to, name, args, kwargs, out)
        elif name in MOVEMENT and results:
            move(self.to, name, func, args, kwargs, out)
        elif (rule := rule_for(name)) is not None and results:
            rule(self.to, name, func, args, kwargs, out)
        elif name not in _HARMLESS:
            tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            give_up(self.to, tensors, f"enters {name!r}, which mixes or hides channels,")
            for result in results:
                self.to.put(result, None)

    def _count(self, name: str, args: tuple, kwargs: dict, label: Tensor) -> Any:
        ids = label.reshape(-1).numpy()
        sizes = with_widths(Tensor.size(args[0]), label, ids, self._relied_on)
        if name in {"numel", "nelement"}:
            count = args[0].numel()
            return Width.of(count, ids, self._relied_on) if label.numel() > 1 else count
        if name == "len":
            if label.size(0) > 1:
                self.to.freeze(label, "its number of channels is asked for by 'len'")
            return int.__add__(sizes[0], 0)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return sizes if dim is None else sizes[dim]

    def _relied_on(self, ids: np.ndarray, reason: str) -> None:
        if self.inside == 0:  # the model's own code, not that of a torch function
            self.to.freeze_ids(ids, reason)

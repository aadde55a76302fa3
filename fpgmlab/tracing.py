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
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakTensorKeyDictionary

from fpgmlab.labels import MOVEMENT, along, rule_for, unique_pairs, varying
from fpgmlab.modules import eval_mode, named_tensors, split_name, tensors_in
from fpgmlab.widths import Width, widths_in, with_widths

_CONVS = {f"conv{n}d": n for n in (1, 2, 3)}
_TRANSPOSED = {f"conv_transpose{n}d": n for n in (1, 2, 3)}
_NORMS = {"batch_norm": 1, "instance_norm": 1, "group_norm": 1, "layer_norm": -1, "rms_norm": -1}


class TracingError(ValueError):
    """A model that could not be traced; the message says where."""


@dataclass
class TracedLayer:
    """What one layer does with channels; ``inputs`` and ``outputs`` hold a label for each channel, 0 for a fixed one.

    ``kind`` is conv, conv_transpose, linear, batch_norm, instance_norm, group_norm, layer_norm, rms_norm, prelu or
    tensor (a parameter or buffer that takes part by itself, cut along ``dim``). ``positions`` is the number of times that
    its kernel is applied in the forward pass of one example.
    """

    name: str
    kind: str
    inputs: np.ndarray | None = None  # (channels in,)
    outputs: np.ndarray | None = None  # (channels out,)
    groups: int = 1
    positions: int = 0
    dim: int = 0


@dataclass
class Trace:
    """Everything that one labelled forward pass has seen."""

    layers: dict[str, TracedLayer] = field(default_factory=dict)
    pairs: list[np.ndarray] = field(default_factory=list)  # each (n, 2): labels of one and the same channel
    frozen: list[tuple[np.ndarray, str]] = field(default_factory=list)
    parts: list[list[np.ndarray]] = field(default_factory=list)  # label vectors that must stay equally long
    labels: int = 1  # the next free label


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
    mode = _LabelMode(model, batch=next((len(t) for t in tensors_in(example_input) if t.ndim), 1))
    arguments = pytree.tree_map(mode.differentiable, example_input)
    with eval_mode(model), torch.enable_grad(), mode.watching(model):
        try:
            with mode:
                outputs = call(model, arguments)
        except TracingError:
            raise
        except Exception as error:
            shapes = [tuple(tensor.shape) for tensor in tensors_in(example_input)]
            raise TracingError(
                f"{type(model).__name__} could not be traced: its forward pass with example_input {shapes} failed in "
                f"{mode.where}: {error}. Pass an example_input that the model takes, on the model's device."
            ) from error
    for output in tensors_in(outputs):
        mode.freeze(mode.get(output), "it is the model's output")
    return mode.trace


def call(model: nn.Module, example_input: object) -> object:
    """Call a model with one tensor, a tuple of positional or a dict of keyword arguments."""
    if isinstance(example_input, dict):
        return model(**example_input)
    if isinstance(example_input, tuple):
        return model(*example_input)
    return model(example_input)


class _LabelMode(TorchFunctionMode):
    """Sees every torch function of a forward pass and gives its results their labels."""

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.trace = Trace()
        self.names = named_tensors(model)
        self.stack: list[str] = []
        self.label_of = WeakTensorKeyDictionary()

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
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self.stack.append(name)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self, *_: object) -> None:
        self.stack.pop()

    # What the rules in fpgmlab.labels call -------------------------------------------------------------------------

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
        ids = torch.zeros(0) if label is None else label[label > 0].unique()
        if len(ids):
            place = f" in {self.where}" if self.stack else ""
            self.trace.frozen.append((ids.numpy(), reason + place))

    def equal_parts(self, parts: Sequence[Tensor]) -> None:
        self.trace.parts.append([part.numpy() for part in parts])

    def is_model_tensor(self, tensor: Tensor) -> bool:
        return id(tensor) in self.names

    def slice_model_tensor(self, tensor: Tensor, dim: int, label: Tensor) -> None:
        name = self.names[id(tensor)]
        self._record(TracedLayer(name, "tensor", outputs=label.numpy(), dim=dim))

    # One torch function --------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func)).strip("_")
        if name == "get":  # a property such as x.T, x.shape, x.data
            name = getattr(getattr(func, "__self__", None), "__name__", "get")
        leaves = pytree.tree_leaves((args, kwargs))
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        for tensor in inputs:
            self._check_seen(tensor, name)
        if name in {"shape", "size"} and (label := self.get(args[0])) is not None:
            sizes = with_widths(Tensor.size(args[0]), label, self.freeze)
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            return sizes if dim is None else sizes[dim]
        self._check_widths(name, widths_in(leaves), inputs)
        out = func(*args, **kwargs)
        for result in tensors_in(out):
            if result not in self.label_of:
                self.put(result, None)
        if all(self.get(tensor) is None for tensor in inputs) and not self._is_layer(name, args, kwargs):
            for result in tensors_in(out):
                self.put(result, None)
            return out
        if name in _CONVS or name in _TRANSPOSED:
            self._convolution(name, args, kwargs, out)
        elif name == "linear":
            self._linear(args, kwargs, out)
        elif name in _NORMS:
            self._norm(name, args, kwargs, out)
        elif name == "prelu":
            self._prelu(args, kwargs, out)
        elif (rule := rule_for(name)) is not None:
            rule(self, name, func, args, kwargs, out)
        elif name == "setitem" or any(True for _ in tensors_in(out)):
            for tensor in inputs:
                self.freeze(self.get(tensor), f"enters {name!r}, which mixes or hides channels,")
            for result in tensors_in(out):
                self.put(result, None)
        return out

    def _check_widths(self, name: str, widths: list[Width], inputs: list[Tensor]) -> None:
        """A number of channels may shape the tensor that it was read from; anything else relies on it."""
        for width in widths:
            labels = [self.get(tensor) for tensor in inputs]
            own = any(label is not None and bool(torch.isin(width.label, label).all()) for label in labels)
            if not own or name not in MOVEMENT:
                self.freeze(width.label, f"its number of channels shapes another tensor through {name!r}")

    def _is_layer(self, name: str, args: tuple, kwargs: dict) -> bool:
        if name not in _CONVS and name not in _TRANSPOSED and name != "linear":
            return False
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        return id(weight) in self.names

    def _check_seen(self, tensor: Tensor, name: str) -> None:
        seen = tensor in self.label_of or id(tensor) in self.names
        if not seen and tensor.grad_fn is not None:
            raise TracingError(
                f"a tensor that {name!r} takes in {self.where} was computed by code that tracing cannot see (a scripted "
                "module, a custom autograd function). Replace that part by plain torch operations."
            )

    def _record(self, layer: TracedLayer) -> TracedLayer:
        """Add a layer; one that runs twice must see the same channels twice."""
        known = self.trace.layers.setdefault(layer.name, layer)
        if known is layer:
            return layer
        for mine, other in ((known.inputs, layer.inputs), (known.outputs, layer.outputs)):
            if mine is not None and other is not None and mine.shape == other.shape:
                self.tie(torch.from_numpy(mine), torch.from_numpy(other))
        known.positions += layer.positions
        return known

    def _new_labels(self, count: int) -> Tensor:
        start = self.trace.labels
        self.trace.labels += count
        return torch.arange(start, start + count)

    def _entering(self, tensor: Tensor, dim: int, name: str) -> Tensor:
        """Return the labels of a layer's input channels, (channels,)."""
        size = tensor.shape[dim]
        label = self.get(tensor)
        if label is None:
            return torch.zeros(size, dtype=torch.int64)
        flat = along(label, dim, size)
        if flat is None:
            self.freeze(label, f"enters {name!r} along another dimension than its channels")
            return torch.zeros(size, dtype=torch.int64)
        return flat

    def _owner(self, tensor: Tensor | None) -> str | None:
        name = self.names.get(id(tensor))
        return None if name is None else split_name(name)[0]

    def _convolution(self, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
        transposed = name in _TRANSPOSED
        rank = _TRANSPOSED[name] if transposed else _CONVS[name]
        call_args = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        tensor, weight = call_args["input"], call_args["weight"]
        owner = self._owner(weight)
        ids = self._entering(tensor, -rank - 1, name)
        if owner is None:
            self.freeze(ids, f"enters {name!r} with a computed weight")
            return self.put(out, None)
        channels, filters = tensor.shape[-rank - 1], out.shape[-rank - 1]
        area = tensor if transposed else out
        positions = area.numel() // area.shape[-rank - 1] // self.batch
        kind = "conv_transpose" if transposed else "conv"
        if groups == channels and groups > 1:  # depthwise: output channels follow their input channel
            outputs = ids.repeat_interleave(filters // groups)
        else:
            known = self.trace.layers.get(owner)
            outputs = torch.from_numpy(known.outputs) if known else self._new_labels(filters)
            if groups > 1:
                self.equal_parts(outputs.chunk(groups))
                if bool((ids > 0).all()):
                    self.equal_parts(ids.chunk(groups))
                else:
                    self.freeze(ids, f"shares a grouped convolution with fixed channels: {owner}")
        layer = TracedLayer(owner, kind, ids.numpy(), outputs.numpy(), groups, positions)
        self._record(layer)
        self.put(out, outputs.reshape(-1, *(1,) * rank).reshape((1,) * (out.ndim - rank - 1) + (-1,) + (1,) * rank))

    def _linear(self, args: tuple, kwargs: dict, out: Tensor) -> None:
        call_args = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        tensor, weight = call_args["input"], call_args["weight"]
        owner = self._owner(weight)
        ids = self._entering(tensor, -1, "linear")
        # torchvision's Swin hands over another module's bias or a changed one: only a plain linear layer is understood.
        bias = call_args.get("bias")
        if owner is None or (bias is not None and self._owner(bias) != owner):
            if owner is not None:
                filters = weight.shape[0]
                fixed = np.zeros(filters, np.int64)
                self._record(TracedLayer(owner, "linear", ids.numpy(), fixed, 1, self._positions(tensor)))
            else:
                self.freeze(ids, "enters 'linear' with a computed weight")
            return self.put(out, None)
        known = self.trace.layers.get(owner)
        outputs = torch.from_numpy(known.outputs) if known else self._new_labels(out.shape[-1])
        self._record(TracedLayer(owner, "linear", ids.numpy(), outputs.numpy(), 1, self._positions(tensor)))
        self.put(out, outputs.reshape((1,) * (out.ndim - 1) + (-1,)))

    def _positions(self, tensor: Tensor) -> int:
        # Windows and tokens count, also where they were folded into the batch.
        return tensor.numel() // tensor.shape[-1] // self.batch

    def _norm(self, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
        tensor = args[0] if args else kwargs["input"]
        label = self.get(tensor)
        dim = _NORMS[name] % label.ndim
        own = [self._owner(leaf) for leaf in pytree.tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
        owner = next((o for o in own if o is not None), None)
        mixes = name in {"layer_norm", "rms_norm", "group_norm"}
        shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else ())
        if name in {"layer_norm", "rms_norm"} and not varying(label):
            dim = -1
        flat = along(label, dim, tensor.shape[dim])
        several = name in {"layer_norm", "rms_norm"} and len(shape) != 1
        if flat is None or several or (owner is None and mixes):
            why = "without weights" if owner is None else "over several dimensions"
            self.freeze(label, f"is normalised by {name!r} {why}")
            return self.put(out, None)
        groups = 1
        if name == "group_norm":
            groups = kwargs.get("num_groups", args[1] if len(args) > 1 else 1)
            if groups > 1:
                self.equal_parts(flat.chunk(groups))
        self._record(TracedLayer(owner or self.stack[-1], name, outputs=flat.numpy(), groups=groups))
        self.put(out, label)

    def _prelu(self, args: tuple, kwargs: dict, out: Tensor) -> None:
        tensor, weight = args[0], kwargs.get("weight", args[1] if len(args) > 1 else None)
        label = self.get(tensor)
        if label is not None and weight.numel() > 1:
            flat, owner = along(label, 1, tensor.shape[1]), self._owner(weight)
            if flat is None or owner is None:
                self.freeze(label, "enters 'prelu' along another dimension than its channels")
            else:
                self._record(TracedLayer(owner, "prelu", outputs=flat.numpy()))
        self.put(out, label)

"""The mode that sees every torch function of a forward pass and gives its results their labels (see `labels`).

What is not understood is never guessed: the channels that go into it are frozen, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fpgmlab.common.modules import split_name, tensors_in
from fpgmlab.graph.tracing.attention import OPERATION, attend
from fpgmlab.graph.tracing.attributes import Attribute, Owner
from fpgmlab.graph.tracing.by_channel import takes_each
from fpgmlab.graph.tracing.contraction import CONTRACTIONS
from fpgmlab.graph.tracing.labels import give_up, rule_for, words
from fpgmlab.graph.tracing.layers import layer_rule, makes_channels
from fpgmlab.graph.tracing.movement import MOVEMENT, move
from fpgmlab.graph.tracing.norms import norm_rule
from fpgmlab.graph.tracing.operations import operation_name
from fpgmlab.graph.tracing.own import laid
from fpgmlab.graph.tracing.reasons import KNOWN_OPERATION, OWN_SIZE
from fpgmlab.graph.tracing.recorder import TraceRecorder
from fpgmlab.graph.tracing.reductions import OVER_CHANNELS, reduction_rule
from fpgmlab.graph.tracing.setting import set_item
from fpgmlab.graph.tracing.shuffles import SHUFFLES
from fpgmlab.graph.tracing.suspicion import asked_by_model
from fpgmlab.graph.tracing.widths import Width, numbers_in, unmarked, with_widths
from fpgmlab.graph.tracing.written import may_write

# What tells nothing about channels, or only what a pruned tensor would tell as well.
_HARMLESS = words(
    """device dtype layout requires_grad is_leaf grad grad_fn ndim dim ndimension is_cuda is_cpu is_mps is_meta
    is_sparse is_quantized is_mkldnn is_nested is_floating_point is_complex is_contiguous is_pinned is_inference
    is_same_size is_tensor is_autocast_enabled element_size itemsize get_device names output_nr version name
    storage_offset register_hook retain_grad hash repr str format isinstance result_type promote_types can_cast type"""
)


_PLAIN = (Tensor, nn.Parameter)
_COUNTS = words("shape size numel nelement len")
_BY_CONTENT = words("nonzero argwhere masked_select unique unique_consecutive nms")  # how much comes out, the data say


class _Unseen(TorchDispatchMode):
    """Sees what is computed outside of torch functions: by a script or other compiled code."""

    def __init__(self, tracer: LabelMode) -> None:
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


class LabelMode(TorchFunctionMode):
    """Sees every torch function of a forward pass and gives its results their labels."""

    def __init__(self, model: nn.Module, batch: int, dims: Mapping[str, int], as_numbers: bool = False) -> None:
        super().__init__()
        self.to = TraceRecorder(model, batch, dims)
        self.unseen = _Unseen(self)
        self.owner = Owner(self, as_numbers)
        self.inside = 0  # torch functions that are running

    def differentiable(self, leaf: object) -> object:
        """Return a copy of an input that gives every result a grad_fn: a result without a label was computed unseen."""
        if isinstance(leaf, Tensor):
            leaf = leaf.detach().clone()
            leaf = leaf.requires_grad_() * 1 if leaf.is_floating_point() else leaf
            self.to.put(leaf, None)
        return leaf

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
        name = operation_name(func)
        if name == "iter":
            return iter(self._see(torch.unbind, types, args[:1], {}))
        leaves = pytree.tree_leaves((args, kwargs))
        numbers = list(numbers_in(leaves))
        if any(number.owner is not self.owner for number in numbers):  # from a cache
            args, kwargs = pytree.tree_map(lambda leaf: unmarked(leaf, self.owner), (args, kwargs))
            leaves = pytree.tree_leaves((args, kwargs))
            numbers = list(numbers_in(leaves))
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        for tensor in inputs:
            self.to.check_seen(tensor, name)
        if inputs and may_write(name, func) and self.to.is_model_tensor(inputs[0]):
            self.to.held.add(self.to.names[id(inputs[0])], inputs[0])
        if not args and "input" in kwargs:
            args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
        self.to.place = self.to.running.place(name) if name in OVER_CHANNELS else None
        label = self.to.get(args[0]) if args and isinstance(args[0], Tensor) else None
        if name in _COUNTS and args and isinstance(args[0], Tensor):
            labels = self._counted(args[0], label)
            if labels is not None:
                return self._count(name, args, kwargs, labels)
        own = self.to.own.begin(name, args, inputs)
        for layer, tensor in own:
            self.to.put(tensor, laid(torch.from_numpy(layer.outputs), layer.dim, tensor.ndim))
        if numbers:
            self.to.check_numbers(name, numbers, inputs)
        if name == "batch_norm" and not self.to.counting:
            args, kwargs = _by_running_statistics(args, kwargs)
        self.to.reads_content = bool(self.to.by_content) and any(tensor in self.to.by_content for tensor in inputs)
        with torch._C._DisableTorchDispatch() if all(type(t) in _PLAIN for t in inputs) else nullcontext():
            out = func(*args, **kwargs)  # what it consists of is nobody's business
        results = list(tensors_in(out))
        if self.to.reads_content or name in _BY_CONTENT or _picks(name, args):
            for result in results or inputs[:1]:  # what is written into
                self.to.by_content[result] = True
        for result in results:
            if result not in self.to.label_of:
                self.to.put(result, None)
        if self.to.reduced:
            self.to.reduced.follow(name, inputs, [r for r in results if self.to.get(r) is None])
        if not any(result is tensor for result in results for tensor in inputs):
            for layer, _ in own:
                self.to.record(layer)
        self.to.own.settle(name, inputs)
        if (owner := self.to.standardised.follow(self.to, name, args, kwargs, out)) is not None:
            self.to.claimed.add(owner)
        elif any(self.to.get(tensor) is not None for tensor in inputs) or makes_channels(name):
            self._apply(name, func, args, kwargs, out)
        for _, tensor in own:
            self.to.put(tensor, None)
        for owned in filter(self.to.is_model_tensor, inputs):
            full = self.to.names[id(owned)]
            self.to.seen.add(full)
            if not {full, split_name(full)[0]} & self.to.claimed and any(result is not owned for result in results):
                self.to.other_uses.setdefault(full, name)
        return out

    def _apply(self, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
        results = list(tensors_in(out))
        if name == OPERATION:
            attend(self.to, args, kwargs, out)
        elif (rule := layer_rule(name) or norm_rule(name)) is not None:
            own = (args[0], kwargs.get("bias", args[2] if len(args) > 2 else None) if name == "linear" else None)
            others = [leaf for leaf in pytree.tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
            others = [other for other in others if not any(other is tensor for tensor in own)]
            give_up(self.to, others, f"enters {name!r} beside its input")
            if takes_each(self.to, name, args, kwargs, out):
                return
            if self.to.get(args[0]) is not None or makes_channels(name):
                rule(self.to, name, args, kwargs, out)
        elif name in MOVEMENT and results:
            move(self.to, name, func, args, kwargs, out)
        elif (rule := _rule_for(name)) is not None and results:
            rule(self.to, name, func, args, kwargs, out)
        elif name == "setitem":
            set_item(self.to, args)
        elif name not in _HARMLESS:
            tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            give_up(self.to, tensors, f"enters {name!r}, which mixes or hides channels,", KNOWN_OPERATION)
            for result in results:
                self.to.put(result, None)

    def _counted(self, tensor: Tensor, label: Tensor | None) -> Tensor | None:
        """Return the labels that a tensor's sizes shall remember, and note that they were asked for."""
        seen = self.to.trace
        if label is not None:
            seen.suspect = seen.suspect or asked_by_model()
        elif self.to.is_model_tensor(tensor) and asked_by_model():
            seen.suspect = True
            return self.to.reserve(tensor)
        return label

    def _count(self, name: str, args: tuple, kwargs: dict, label: Tensor) -> Any:
        ids = label.reshape(-1).numpy()
        sizes = with_widths(Tensor.size(args[0]), label, ids, self.owner)
        if name in {"numel", "nelement"}:
            count = args[0].numel()
            return Width.of(count, ids, self.owner) if label.numel() > 1 else count
        if name == "len":
            if label.size(0) > 1 and not self.to.is_model_tensor(args[0]):  # a number that nothing follows
                self.to.freeze(label, "its number of channels is asked for by 'len'", OWN_SIZE)
            return int.__add__(sizes[0], 0)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return sizes if dim is None else sizes[dim]

    # What numbers tell: where the model's own code works with them, not that of a torch function ----------------------

    def relied_on(self, ids: np.ndarray, reason: str) -> None:
        if self.inside == 0:
            self.to.freeze_ids(ids, reason)

    def relied_on_size(self, size: int, reason: str) -> None:
        if self.inside == 0 and isinstance(size, Width):
            self.to.wait(size, reason)

    def matched(self, ids: np.ndarray, others: np.ndarray) -> None:
        if self.inside == 0 and len(ids) == len(others):
            self.to.tie(torch.from_numpy(ids), torch.from_numpy(others))
        else:
            for each in (ids, others):
                self.relied_on(each, "its number of channels is compared with another one")

    def counted(self, ids: np.ndarray, attribute: Attribute) -> bool:
        return self.inside == 0 and self.to.count(ids, attribute)

    def spent(self, attribute: Attribute, use: str) -> None:
        if self.inside == 0:
            self.to.spend([attribute], use)


def _rule_for(name: str) -> Callable[..., None] | None:
    return rule_for(name) or reduction_rule(name) or CONTRACTIONS.get(name) or SHUFFLES.get(name)


def _picks(name: str, args: tuple) -> bool:
    """Tell whether a mask decides how much an operation gives: ``x[mask]``, ``torch.where(mask)``."""
    if name == "where":
        return len(args) == 1
    indices = pytree.tree_leaves(args[1:]) if name == "getitem" else ()
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _by_running_statistics(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Return a batch norm's arguments without its training: one example may be too few for statistics of its own."""
    order = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(order, args, strict=False)) | kwargs
    if given.get("running_mean") is None:
        return args, kwargs
    return (given.pop("input"),), {**given, "training": False}

"""Channel labels: a number for each channel that travels with the tensors of one forward pass.

A label tensor belongs to an activation: it has the same number of dimensions, size 1 wherever the label does not change
along a dimension, and at each position either 0 (a channel that nobody can remove) or the number of a channel. This
file holds the algebra of labels over operations by name; `fpgmlab.tracing` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fpgmlab.widths import Width

UNARY = frozenset(
    """relu relu6 hardtanh sigmoid tanh silu gelu hardswish hardsigmoid leaky_relu elu celu selu mish softplus softsign
    logsigmoid exp expm1 log log1p sqrt rsqrt square abs neg negative reciprocal clamp clip clamp_min clamp_max erf sin cos
    round floor ceil sign logical_not isnan isinf isfinite nan_to_num threshold dropout dropout1d dropout2d dropout3d
    alpha_dropout feature_alpha_dropout float half double bfloat16 to type type_as contiguous clone detach requires_grad_
    cpu cuda zeros_like ones_like full_like empty_like rand_like randn_like data bool int long""".split()
)
ELEMENTWISE = frozenset(
    """add iadd radd sub isub rsub subtract mul imul rmul multiply div idiv truediv itruediv rtruediv divide floor_divide
    pow ipow rpow maximum minimum fmax fmin where addcmul addcdiv lerp atan2 remainder fmod hypot masked_fill eq ne gt lt
    ge le and or xor logical_and logical_or copy""".split()
)
SPATIAL = frozenset(
    """max_pool1d max_pool2d max_pool3d boolean_dispatch avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d interpolate upsample upsample_nearest upsample_bilinear grid_sample
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices""".split()
)
REDUCTION = frozenset("mean sum amax amin max min std var norm logsumexp any all prod argmax argmin median".split())
ALONG = frozenset("softmax log_softmax normalize cumsum softmin sort argsort topk glu".split())
MOVEMENT = frozenset(
    """view reshape flatten unflatten view_as reshape_as permute transpose swapaxes swapdims movedim moveaxis squeeze
    unsqueeze cat concat concatenate stack hstack vstack chunk split split_with_sizes tensor_split unbind narrow select
    getitem expand expand_as repeat roll flip index_select T mT pad tile""".split()
)
CREATION = frozenset("new_zeros new_ones new_full new_empty new_tensor".split())
_RESHAPE = frozenset("view reshape flatten unflatten view_as reshape_as".split())


class Recorder(Protocol):
    """What the rules tell the tracer."""

    def get(self, tensor: Tensor) -> Tensor | None: ...
    def put(self, tensor: object, label: Tensor | None) -> None: ...
    def tie(self, left: Tensor, right: Tensor) -> None: ...
    def freeze(self, label: Tensor | None, reason: str) -> None: ...
    def equal_parts(self, parts: Sequence[Tensor]) -> None: ...
    def is_model_tensor(self, tensor: Tensor) -> bool: ...
    def slice_model_tensor(self, tensor: Tensor, dim: int, label: Tensor) -> None: ...


def compact(full: Tensor) -> Tensor:
    """Cut a label tensor to size 1 along the dimensions that it does not change along."""
    for dim in range(full.ndim):
        if full.size(dim) > 1 and (full.stride(dim) == 0 or bool((full == full.narrow(dim, 0, 1)).all())):
            full = full.narrow(dim, 0, 1)
    return full


def varying(label: Tensor) -> list[int]:
    """Return the dimensions that a compact label changes along."""
    return [dim for dim, size in enumerate(label.shape) if size > 1]


def along(label: Tensor, dim: int, size: int) -> Tensor | None:
    """Return the labels along one dimension, ``(size,)``, or None when they change along another one."""
    dim %= label.ndim
    if any(d != dim for d in varying(label)):
        return None
    return label.reshape(-1).expand(size)


def rule_for(name: str) -> Callable[..., None] | None:
    """Return the rule for an operation's name (without underscores), or None for one that is not known."""
    for names, rule in (
        (UNARY, _unary),
        (ELEMENTWISE, _elementwise),
        (SPATIAL, _spatial),
        (REDUCTION, _reduction),
        (ALONG, _along),
        (MOVEMENT, _movement),
        (CREATION, _creation),
    ):
        if name in names:
            return rule
    return None


def _unary(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    to.put(out, to.get(args[0]))


def _creation(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    to.put(out, None)


def _elementwise(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    if name == "max" or not isinstance(out, Tensor):
        return
    operands = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    merged: Tensor | None = None
    for operand in operands:
        label = to.get(operand)
        if label is None:
            continue
        label = _align(label, out.ndim)
        if merged is None:
            merged, merged_shape = label, _align(operand, out.ndim).shape
            continue
        shape = _align(operand, out.ndim).shape
        mine, other = varying(merged), varying(label)
        if all(merged_shape[d] == shape[d] for d in {*mine, *other}):
            left, right = torch.broadcast_tensors(merged, label)
            to.tie(left, right)
            merged = torch.where(left > 0, left, right)
        elif all(shape[d] == 1 for d in mine) and not other:
            to.freeze(label, f"one channel that {name!r} spreads over others")
        elif all(merged_shape[d] == 1 for d in other) and not mine:
            to.freeze(merged, f"one channel that {name!r} spreads over others")
            merged, merged_shape = label, shape
        else:
            for both in (merged, label):
                to.freeze(both, f"{name!r} crosses its channels with others")
            merged = None
        if merged is not None:
            merged_shape = torch.broadcast_shapes(merged_shape, shape)
    if merged is None:
        return to.put(out, None)
    for operand in operands:
        if to.get(operand) is None:
            _with_fixed(to, name, merged, operand)
    to.put(out, merged)


def _with_fixed(to: Recorder, name: str, merged: Tensor, operand: Tensor) -> None:
    """An operand without labels: harmless when it broadcasts over the channels; a model's tensor is cut with them."""
    sizes = _align(operand, merged.ndim).shape if operand.ndim <= merged.ndim else operand.shape
    dims = [d for d in varying(merged) if sizes[d] > 1]
    if not dims:
        return
    if len(dims) == 1 and to.is_model_tensor(operand):
        flat = along(merged, dims[0], sizes[dims[0]])
        if flat is not None:
            return to.slice_model_tensor(operand, dims[0] - (merged.ndim - operand.ndim), flat)
    to.freeze(merged, f"{name!r} combines it with a tensor of fixed width")


def _spatial(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    label = to.get(args[0])
    if label is None:
        return to.put(out, None)
    if any(d != 1 for d in varying(label)):
        to.freeze(label, f"{name!r} pools over its channels")
        return to.put(out, None)
    result = out if isinstance(out, Tensor) else out[0]
    to.put(out, label if result.ndim == label.ndim else None)


def _dims(args: tuple, kwargs: dict, ndim: int) -> list[int]:
    dims = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    if dims is None:
        return list(range(ndim))
    return [d % ndim for d in ([dims] if isinstance(dims, int) else dims)]


def _reduction(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    if len(args) > 1 and isinstance(args[1], Tensor):  # max(a, b) of two tensors
        return _elementwise(to, f"{name}imum", func, args, kwargs, out)
    label = to.get(args[0])
    result = out if isinstance(out, Tensor) else out[0]
    if label is None:
        return to.put(out, None)
    dims = _dims(args, kwargs, label.ndim)
    if set(dims) & set(varying(label)):
        to.freeze(label, f"{name!r} runs over its channels")
        return to.put(out, None)
    if result.ndim < label.ndim:
        for dim in sorted(dims, reverse=True):
            label = label.squeeze(dim)
    to.put(out, label)


def _along(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    label = to.get(args[0])
    if label is not None:
        dim = kwargs.get("dim", args[1] if len(args) > 1 and isinstance(args[1], int) else -1)
        if name in {"glu", "topk"} or (dim % label.ndim) in varying(label):
            to.freeze(label, f"{name!r} runs over its channels")
            label = None
    to.put(out, label)


def _movement(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    if name == "pad":
        return _pad(to, args, kwargs, out)
    sources: list[Tensor] = []

    def label_of(leaf: object) -> object:
        if not isinstance(leaf, Tensor) or not (leaf.is_floating_point() or to.get(leaf) is not None):
            return leaf
        label = to.get(leaf)
        if label is None:
            return torch.zeros((), dtype=torch.int64).expand(leaf.shape)
        sources.append(label)
        return label.expand(leaf.shape)

    moved_args, moved_kwargs = pytree.tree_map(label_of, (args, dict(kwargs)))
    if not sources:
        return to.put(out, None)
    # A label's memory layout is its own, so that a view may need a copy.
    moved = (Tensor.reshape if name == "view" else func)(*moved_args, **moved_kwargs)
    parts = [moved] if isinstance(moved, Tensor) else list(moved)
    labels = [compact(part) for part in parts]
    _check_moved(to, name, sources, labels)
    if name in {"view", "reshape"}:
        _check_sizes(to, name, pytree.tree_leaves(args[1:]), labels[0])
    for result, label in zip([out] if isinstance(out, Tensor) else out, labels, strict=True):
        to.put(result, label if bool((label > 0).any()) else None)


def _pad(to: Recorder, args: tuple, kwargs: dict, out: Tensor) -> None:
    """Padding of other dimensions keeps the labels; padded channels would be channels that nobody can remove."""
    label, widths = to.get(args[0]), kwargs.get("pad", args[1] if len(args) > 1 else ())
    mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
    dims = varying(label)
    cut = [0 if label.ndim - 1 - i // 2 not in dims else width for i, width in enumerate(widths)]
    if not any(cut):
        return to.put(out, label)
    if mode != "constant":
        to.freeze(label, "'pad' copies its channels")
        return to.put(out, None)
    to.put(out, torch.nn.functional.pad(label, cut, value=0))


def _check_moved(to: Recorder, name: str, sources: list[Tensor], labels: list[Tensor]) -> None:
    """Freeze what a cut could not follow: channels split into two dimensions, or sliced at fixed places."""
    before = torch.cat([source.reshape(-1) for source in sources]).unique()
    if name in _RESHAPE and len(varying(labels[0])) > len(varying(sources[0])):
        to.freeze(before, f"{name!r} arranges its channels in rows (a shuffle, attention heads)")
        return
    wanted = before[before > 0]
    complete = [torch.isin(wanted, label).all() for label in labels]
    if all(complete):
        return
    dims = {tuple(varying(label)) for label in labels}
    if name == "chunk" and len(dims) == 1 and len(next(iter(dims))) == 1:
        sizes = {label.numel() for label in labels}
        if len(sizes) == 1 and all(bool((label > 0).all()) for label in labels):
            return to.equal_parts([label.reshape(-1) for label in labels])
    to.freeze(before, f"{name!r} takes some of its channels by fixed position")


def _check_sizes(to: Recorder, name: str, sizes: list[object], label: Tensor) -> None:
    """A number in the model's code would no longer fit after pruning; -1 and numbers read from a shape do."""
    for dim in varying(label):
        if len(sizes) == label.ndim and sizes[dim] != -1 and not isinstance(sizes[dim], Width):
            to.freeze(label, f"{name!r} asks for exactly {sizes[dim]} of them")


def _align(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape)) if tensor.ndim < ndim else tensor


def unique_pairs(left: Tensor, right: Tensor) -> Tensor:
    """Return the distinct pairs of different labels, (pairs, 2)."""
    pairs = torch.stack([left.reshape(-1), right.reshape(-1)], dim=1)
    return pairs[pairs[:, 0] != pairs[:, 1]].unique(dim=0)

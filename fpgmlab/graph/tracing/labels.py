"""Channel labels: a number for each channel that travels with the tensors of one forward pass.

A label tensor belongs to an activation: it has the same number of dimensions, size 1 wherever the label does not change
along a dimension, and at each position either 0 (a channel that nobody can remove) or the number of a channel. This
file holds the algebra of labels over operations by name; `fpgmlab.graph.tracing.label_mode` runs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fpgmlab.common.modules import tensors_in
from fpgmlab.graph.tracing.attributes import Attribute
from fpgmlab.graph.tracing.reasons import OWN_TENSOR
from fpgmlab.graph.tracing.row_numbers import RowNumbers
from fpgmlab.graph.tracing.widths import Width


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


UNARY = words(
    """relu relu6 hardtanh sigmoid tanh silu gelu hardswish hardsigmoid leaky_relu elu celu selu mish softplus softsign
    logsigmoid exp expm1 log log1p sqrt rsqrt square abs neg negative reciprocal clamp clip clamp_min clamp_max erf
    sin cos round floor ceil sign logical_not isnan isinf isfinite nan_to_num threshold dropout dropout1d dropout2d
    dropout3d alpha_dropout feature_alpha_dropout float half double bfloat16 to type type_as contiguous clone detach
    requires_grad cpu cuda zero fill zeros_like ones_like full_like empty_like rand_like randn_like data bool int
    long"""
)
ELEMENTWISE = words(
    """add iadd radd sub isub rsub subtract mul imul rmul multiply div idiv truediv itruediv rtruediv divide
    floor_divide pow ipow rpow maximum minimum fmax fmin where addcmul addcdiv lerp atan2 remainder fmod hypot
    masked_fill eq ne gt lt ge le and or xor logical_and logical_or copy expand_as"""
)
SPATIAL = words(
    """max_pool1d max_pool2d max_pool3d boolean_dispatch avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d interpolate upsample upsample_nearest upsample_bilinear grid_sample
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices"""
)
REDUCTION = words(
    """mean sum amax amin max min std var std_mean var_mean norm linalg_vector_norm linalg_norm logsumexp any all prod
    median"""
)
ALONG = words("softmax log_softmax softmin normalize local_response_norm")  # give as much as they take
CREATION = words("new_zeros new_ones new_full new_empty new_tensor")


Rule = Callable[..., None]


class Recorder(Protocol):
    """What the rules tell the tracer."""

    rows: RowNumbers

    def get(self, tensor: Tensor) -> Tensor | None: ...
    def put(self, tensor: object, label: Tensor | None) -> None: ...
    def tie(self, left: Tensor, right: Tensor) -> None: ...
    def freeze(self, label: Tensor | None, reason: str, remedy: str = "") -> None: ...
    def equal_parts(self, parts: Sequence[Tensor]) -> None: ...
    def units(self, label: Tensor, count: int, name: str) -> None: ...
    def is_own(self, label: Tensor) -> bool: ...
    def is_model_tensor(self, tensor: Tensor) -> bool: ...
    def slice_model_tensor(self, tensor: Tensor, dim: int, label: Tensor) -> None: ...
    def count(self, ids: np.ndarray, attribute: Attribute) -> bool: ...
    def settle(self, size: Width) -> None: ...
    def spend(self, leaves: Sequence[object], use: str) -> None: ...


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


def align(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape)) if tensor.ndim < ndim else tensor


def unique_pairs(left: Tensor, right: Tensor) -> Tensor:
    """Return the distinct pairs of different labels, (pairs, 2)."""
    pairs = torch.stack([left.reshape(-1), right.reshape(-1)], dim=1)
    return pairs[pairs[:, 0] != pairs[:, 1]].unique(dim=0)


def keep_ratio(to: Recorder, ids: Tensor, others: Tensor) -> None:
    """Note that of two vectors of labels the one stays so many times as long as the other."""
    shared = math.gcd(len(ids), len(others))
    equal = [ids.repeat(len(others) // shared), others.repeat(len(ids) // shared)]
    if not torch.equal(*equal):
        to.equal_parts(equal)


def rule_for(name: str) -> Rule | None:
    """Return the rule for an operation's name (without underscores), or None for one that is not known."""
    return RULES.get(name)


def _unary(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    bounds = [leaf for leaf in pytree.tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
    if bounds and name in {"clamp", "clip", "clamp_min", "clamp_max"}:
        return _elementwise(to, name, func, args, kwargs, out)
    to.put(out, to.get(args[0]))


def _creation(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    to.put(out, None)


def _elementwise(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    operands = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not isinstance(out, Tensor):  # where(condition): the places of its channels
        return give_up(to, operands, f"{name!r} takes some of its channels by value")
    merged: Tensor | None = None
    labelled = [(operand, label) for operand in operands if (label := to.get(operand)) is not None]
    if len(labelled) > 1:  # a result has the labels of activations, also where a model's own tensor comes first
        labelled.sort(key=lambda each: to.is_own(each[1]))
    for operand, label in labelled:
        label = align(label, out.ndim)
        if merged is None:
            merged, merged_shape = label, align(operand, out.ndim).shape
            continue
        shape = align(operand, out.ndim).shape
        mine, other = varying(merged), varying(label)
        alike = all(merged_shape[d] == shape[d] for d in {*mine, *other})
        if alike and bool(mine) != bool(other):  # to tie it to each of them would make them all one
            give_up(to, operands, f"{name!r} combines it with one channel at as many places as there are of them")
            merged = merged if mine else label
        elif alike and (not mine or {*mine} & {*other}):
            left, right = torch.broadcast_tensors(merged, label)
            to.tie(left, right)
            merged = torch.where(left > 0, left, right)
        elif all(shape[d] == 1 for d in mine) and not other:
            to.freeze(label, f"one channel that {name!r} spreads over others")
        elif all(merged_shape[d] == 1 for d in other) and not mine:
            to.freeze(merged, f"one channel that {name!r} spreads over others")
            merged = label
        else:
            give_up(to, operands, f"{name!r} crosses its channels with others")
            return to.put(out, None)
        merged_shape = torch.broadcast_shapes(merged_shape, shape)
    if merged is None:
        return to.put(out, None)
    for operand in operands:
        if to.get(operand) is None:
            _with_fixed(to, name, merged, operand)
    to.put(out, merged)


def give_up(to: Recorder, operands: Sequence[Tensor], reason: str, remedy: str = "") -> None:
    for operand in operands:
        to.freeze(to.get(operand), reason, remedy)


def _with_fixed(to: Recorder, name: str, merged: Tensor, operand: Tensor) -> None:
    """An operand without labels: harmless when it broadcasts over the channels; a model's tensor is cut with them."""
    sizes = align(operand, merged.ndim).shape if operand.ndim <= merged.ndim else operand.shape
    dims = [d for d in varying(merged) if sizes[d] > 1]
    if not dims:
        return
    if len(dims) == 1 and to.is_model_tensor(operand):
        flat = along(merged, dims[0], sizes[dims[0]])
        if flat is not None:
            return to.slice_model_tensor(operand, dims[0] - (merged.ndim - operand.ndim), flat)
    to.freeze(merged, f"{name!r} combines it with a tensor of fixed width", OWN_TENSOR)


def _spatial(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    label = to.get(args[0])
    for other in pytree.tree_leaves((args[1:], kwargs)):
        if isinstance(other, Tensor):  # the grid of grid_sample
            to.freeze(to.get(other), f"enters {name!r} as positions")
    if label is None:
        return to.put(out, None)
    rank = next((int(d) for d in "123" if f"pool{d}d" in name), None)
    channels = 1 if rank is None else label.ndim - rank - 1
    if any(d != channels for d in varying(label)):
        to.freeze(label, f"{name!r} pools over its channels")
        return to.put(out, None)
    for result in tensors_in(out):
        to.put(result, label if result.ndim == label.ndim else None)


# What an operation does with labels, by its name. One that is not here is known from now on when it gets an entry, such
# as RULES["sinc"] = RULES["exp"] for what treats each number by itself; without one its channels are protected.
RULES: dict[str, Rule] = {
    name: rule
    for names, rule in (
        (UNARY, _unary),
        (ELEMENTWISE, _elementwise),
        (SPATIAL, _spatial),
        (CREATION, _creation),
    )
    for name in names
}

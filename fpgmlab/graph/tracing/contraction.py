"""Labels over products of activations: matrix products, sums of Einstein's kind, attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fpgmlab.graph.tracing.labels import Rule, along, give_up, varying
from fpgmlab.graph.tracing.reasons import KNOWN_OPERATION
from fpgmlab.graph.tracing.reductions import PRODUCTS, Reducing, runs_over


def contract(
    to: Reducing, name: str, operands: Sequence[Tensor], names: Sequence[str], result: str, out: Tensor
) -> None:
    """Give a product its labels.

    Parameters
    ----------
    to : Reducing
    name : str
        Of the operation.
    operands : sequence of Tensor
    names, result : sequence of str, str
        A letter for each dimension of each operand, and of the result; what the result has not is summed over.
    out : Tensor
    """
    if _sums_over_channels(to, name, operands, names, result, out):
        operands, names = operands[2:], names[2:]
    merged: dict[str, Tensor] = {}  # by the letters that it changes along
    for operand, letters in zip(operands, names, strict=True):
        label = to.get(operand)
        if label is None:
            continue
        spread = "".join(letters[dim] for dim in varying(label))
        if not set(spread) <= set(result):
            give_up(to, operands, f"{name!r} sums products over its channels")
            return to.put(out, None)
        places = [letters.index(letter) if letter in letters else None for letter in result]
        sizes = [1 if place is None else label.size(place) for place in places]
        order = [place for place in places if place is not None]
        rest = [dim for dim in range(label.ndim) if dim not in order]
        turned = label.permute([*order, *rest]).reshape(sizes)
        key = "".join(sorted(spread))
        if key in merged:
            one, other = torch.broadcast_tensors(merged[key], turned)
            to.tie(one, other)
            merged[key] = torch.where(one > 0, one, other)
        else:
            merged[key] = turned
    channels = {key: label for key, label in merged.items() if key}
    if len(channels) > 1:
        give_up(to, operands, f"{name!r} crosses its channels with others")
        return to.put(out, None)
    for key, label in channels.items():
        for operand, letters in zip(operands, names, strict=True):
            wide = [x for x in key if x in letters and operand.size(letters.index(x)) > 1]
            if to.get(operand) is not None or not wide:
                continue
            flat = along(label, result.index(wide[0]), operand.size(letters.index(wide[0])))
            if flat is None or len(wide) > 1 or not to.is_model_tensor(operand):
                give_up(to, operands, f"{name!r} combines it with a tensor of fixed width")
                return to.put(out, None)
            to.slice_model_tensor(operand, letters.index(wide[0]), flat)
    if channels and "" in merged:  # one channel that is spread over others
        to.freeze(merged[""], f"one channel that {name!r} spreads over others")
    to.put(out, next(iter((channels or merged).values()), None))


def _sums_over_channels(
    to: Reducing, name: str, operands: Sequence[Tensor], names: Sequence[str], result: str, out: Tensor
) -> bool:
    """Tell whether the first two operands have one channel for each product of a sum, and note that they have."""
    if name not in PRODUCTS:
        return False
    labels = [to.get(operand) for operand in operands[:2]]
    if any(label is None for label in labels):
        return False
    one, two = (label for label in labels if label is not None)
    summed = {letters[dim] for label, letters in zip((one, two), names, strict=False) for dim in varying(label)}
    if len(summed) != 1 or summed <= set(result) or not varying(one) or not varying(two):
        return False
    to.tie(one.reshape(-1), two.reshape(-1))
    runs_over(to, one.reshape(-1), varying(one)[0])
    to.reduced.add(out, one.reshape(-1).numpy(), places=False)
    return True


def _matmul(to: Reducing, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    left, right = (*args, *kwargs.values())[:2]
    if name == "rmatmul":
        left, right = right, left
    batch = "abcdefghijklmnopqrst"[: max(left.ndim, right.ndim) - 2] if max(left.ndim, right.ndim) > 2 else ""
    one = batch[len(batch) - max(left.ndim - 2, 0) :] + ("xy" if left.ndim > 1 else "y")
    two = batch[len(batch) - max(right.ndim - 2, 0) :] + ("yz" if right.ndim > 1 else "y")
    result = batch + ("x" if left.ndim > 1 else "") + ("z" if right.ndim > 1 else "")
    contract(to, name, (left, right), (one, two), result, out)


def _einsum(to: Reducing, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    equation, operands = args[0], [leaf for leaf in pytree.tree_leaves(args[1:]) if isinstance(leaf, Tensor)]
    if not isinstance(equation, str) or "." in equation:
        give_up(to, operands, f"enters {name!r}, which mixes or hides channels,", KNOWN_OPERATION)
        return to.put(out, None)
    left, arrow, result = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if not arrow:
        result = "".join(sorted(letter for letter in set(left) if letter != "," and left.count(letter) == 1))
    if any(len(set(letters)) < len(letters) for letters in names):  # a diagonal
        give_up(to, operands, f"enters {name!r}, which mixes or hides channels,", KNOWN_OPERATION)
        return to.put(out, None)
    contract(to, name, operands, names, result, out)


def _attend(to: Reducing, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    """Heads side by side: each goes with its query, key, value and mask, and gives what its values are."""
    order = ("query", "key", "value", "attn_mask")
    given = dict(zip(order, args, strict=False)) | kwargs
    tensors = [given[key] for key in order if isinstance(given.get(key), Tensor)]
    query = given["query"]
    batch = "abcdefghijklmnopqrst"[: query.ndim - 2]
    letters = {"query": "xk", "key": "yk", "value": "yz", "attn_mask": "xy"}
    names = [
        batch[len(batch) - (given[key].ndim - 2) :] + letters[key]
        for key in order
        if isinstance(given.get(key), Tensor)
    ]
    contract(to, name, tensors, names, batch + "xz", out)


CONTRACTIONS: dict[str, Rule] = {
    "matmul": _matmul,
    "rmatmul": _matmul,
    "bmm": _matmul,
    "mm": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attend,
}

"""Labels over operations that move numbers without changing them: views, concatenations, splits, padding.

The operation itself is run on the labels. What is sized by a number that the model's code fixes could not be followed
by a cut: it is frozen. What takes some of the channels is in `picking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fpgmlab.common.modules import tensors_in
from fpgmlab.graph.tracing.attributes import Attribute
from fpgmlab.graph.tracing.labels import Recorder, along, compact, give_up, varying, words
from fpgmlab.graph.tracing.picking import PICKING, check_picked
from fpgmlab.graph.tracing.reasons import OWN_SIZE
from fpgmlab.graph.tracing.rows import rearrange
from fpgmlab.graph.tracing.widths import Width

MOVEMENT = words(
    """view reshape flatten unflatten view_as reshape_as permute transpose swapaxes swapdims movedim moveaxis squeeze
    unsqueeze cat concat concatenate stack hstack vstack chunk split split_with_sizes tensor_split unbind narrow select
    getitem expand repeat repeat_interleave roll flip index_select t T mT pad tile"""
)
SIZED = words("view reshape expand unflatten")  # their sizes may be numbers of channels
_RESHAPE = words("view reshape flatten unflatten")
JOINING = words("cat concat concatenate stack hstack vstack")


def move(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    if name == "pad":
        return _pad(to, args, kwargs, out)
    if name in _RESHAPE:
        return _reshape(to, name, args, kwargs, out)
    results = list(tensors_in(out))
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if name in {"view_as", "reshape_as"}:
        return _reshape_as(to, name, tensors, out)
    chosen = tensors[1:] if name in {"getitem", "index_select"} else []
    if any(to.get(tensor) is not None for tensor in chosen):
        give_up(to, tensors, f"{name!r} takes some of its channels by value")
        for result in results:
            to.put(result, None)
        return None
    sources: list[Tensor] = []

    def label_of(leaf: object) -> object:
        if not isinstance(leaf, Tensor) or any(leaf is index for index in chosen):
            return leaf
        label = to.get(leaf)
        if label is None:
            return torch.zeros((), dtype=torch.int64).expand(leaf.shape)
        sources.append(label)
        return label.expand(leaf.shape)

    moved_args, moved_kwargs = pytree.tree_map(label_of, (args, dict(kwargs)))
    moved = func(*moved_args, **moved_kwargs)
    labels = [compact(part) for part in tensors_in(moved)]
    _check_moved(to, name, sources, labels, args, kwargs)
    if name == "expand":
        _check_sizes(to, name, pytree.tree_leaves((args[1:], kwargs)), labels[0])
    for result, label in zip(results, labels, strict=True):
        to.put(result, label if bool((label > 0).any()) else None)


def _reshape(to: Recorder, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
    label, given = to.get(args[0]), pytree.tree_leaves((args[1:], kwargs))
    if label is None or not all(isinstance(size, int) for size in given):  # another type's view of the same memory
        give_up(to, args[:1], f"{name!r} reads it as numbers of another type")
        return to.put(out, None)
    sizes: list[object] = [-1] * out.ndim
    if name in {"view", "reshape"} and len(given) == out.ndim:
        sizes = given
    elif name == "unflatten":
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0) % args[0].ndim
        parts = list(kwargs.get("sizes", args[-1]))
        sizes[dim : dim + len(parts)] = parts
    moved = rearrange(to, name, label, args[0].shape, out.shape, sizes)
    to.put(out, moved if moved is not None and bool((moved > 0).any()) else None)


def _reshape_as(to: Recorder, name: str, tensors: list[Tensor], out: Tensor) -> None:
    """As many channels as another tensor has, in the same places."""
    tensor, other = tensors
    label, its = to.get(tensor), to.get(other)
    moved = None if label is None else rearrange(to, name, label, tensor.shape, out.shape, [-1] * out.ndim)
    if moved is None or its is None or varying(moved) != varying(its):
        give_up(to, tensors, f"{name!r} arranges its channels like another tensor's")
        return to.put(out, None)
    to.tie(*torch.broadcast_tensors(moved, its))
    to.put(out, moved)


def _pad(to: Recorder, args: tuple, kwargs: dict, out: Tensor) -> None:
    """Padding of other dimensions keeps the labels; padded channels are channels that nobody can remove."""
    label, widths = to.get(args[0]), kwargs.get("pad", args[1] if len(args) > 1 else ())
    mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
    if label is None:
        return to.put(out, None)
    dims = varying(label)
    cut = [0 if label.ndim - 1 - i // 2 not in dims else width for i, width in enumerate(widths)]
    if not any(cut):
        return to.put(out, label)
    if mode != "constant" or min(cut) < 0:
        to.freeze(label, "'pad' copies or cuts its channels")
        return to.put(out, None)
    to.put(out, torch.nn.functional.pad(label, cut, value=0))


def _check_moved(
    to: Recorder, name: str, sources: list[Tensor], labels: list[Tensor], args: tuple, kwargs: dict
) -> None:
    """Note what a cut must keep to follow, and freeze what it could not follow."""
    if name in JOINING and len(varying(labels[0])) > min(len(varying(source)) for source in sources):
        sources.sort(key=to.is_own)
        if _join_rows(to, name, sources, len(list(tensors_in((args, kwargs))))):
            labels[0] = _as_first(labels[0], sources)
    if name in PICKING:
        check_picked(to, name, sources[0], labels, args, kwargs)


def _join_rows(to: Recorder, name: str, sources: list[Tensor], joined: int) -> bool:
    """Tie channels that were put side by side, in rows: once flattened, they keep their order only if whole rows go.

    Returns whether they could be tied.
    """
    shapes = [source.shape for source in sources]
    if len(sources) == joined and all(len({1, *sizes}) <= 2 for sizes in zip(*shapes, strict=True)):
        for source in sources[1:]:
            to.tie(*torch.broadcast_tensors(sources[0], source))
        return True
    for source in sources:
        to.freeze(source, f"{name!r} puts its channels in rows beside others")
    return False


def _as_first(label: Tensor, sources: list[Tensor]) -> Tensor:
    """Return a label with the channels of the first source in place of those that were tied to them."""
    ties = [torch.broadcast_tensors(sources[0], source) for source in sources[1:]]
    one, other = (torch.cat([tie[side].reshape(-1) for tie in ties]) for side in (0, 1))
    least, before = torch.arange(int(label.max()) + 1), None
    while before is None or not torch.equal(least, before):  # of all that are one channel
        before, low = least, torch.minimum(least[one], least[other])
        least = least.scatter_reduce(0, one, low, "amin").scatter_reduce(0, other, low, "amin")
    first = torch.arange(len(least))
    first[least[sources[0].reshape(-1)]] = sources[0].reshape(-1)
    first[0] = 0  # fixed
    return compact(first[least[label]])


def _check_sizes(to: Recorder, name: str, sizes: list[object], label: Tensor) -> None:
    """A number in the model's code would no longer fit after pruning; -1 and numbers read from a shape do."""
    if len(sizes) != label.ndim:
        return to.spend(sizes, repr(name))
    for dim, size in enumerate(sizes):
        flat = along(label, dim, label.size(dim))
        if isinstance(size, Width):
            to.spend([size], repr(name))
        else:
            if label.size(dim) == 1:
                to.spend([size], repr(name))
            elif size != -1 and not (isinstance(size, Attribute) and flat is not None and to.count(flat.numpy(), size)):
                to.freeze(label, f"{name!r} asks for exactly {size} of them", OWN_SIZE)
            continue
        width = torch.from_numpy(size.ids)
        if label.size(dim) > 1 and bool(torch.isin(width, label).all()):
            continue
        if flat is not None and len(flat) == len(width) == size:  # as many as another tensor has
            to.tie(flat, width)
            continue
        for labels in (label, width):
            to.freeze(labels, f"{name!r} builds a size on its number of channels", OWN_SIZE)

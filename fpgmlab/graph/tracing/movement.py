"""Labels over operations that move numbers without changing them: views, concatenations, splits, padding.

The operation itself is run on the labels. What it takes by a position or a number that the model's code fixes could not
be followed by a cut: it is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fpgmlab.common.modules import tensors_in
from fpgmlab.graph.tracing.attributes import Attribute
from fpgmlab.graph.tracing.labels import Recorder, along, compact, give_up, varying, words
from fpgmlab.graph.tracing.rows import picks_rows, rearrange
from fpgmlab.graph.tracing.widths import Width

MOVEMENT = words(
    """view reshape flatten unflatten view_as reshape_as permute transpose swapaxes swapdims movedim moveaxis squeeze
    unsqueeze cat concat concatenate stack hstack vstack chunk split split_with_sizes tensor_split unbind narrow select
    getitem expand repeat roll flip index_select T mT pad tile"""
)
SIZED = words("view reshape expand unflatten")  # their sizes may be numbers of channels
_RESHAPE = words("view reshape flatten unflatten")
_JOINING = words("cat concat concatenate stack hstack vstack")
_SPLIT_SIZES = ("split_size", "split_size_or_sections", "split_sizes", "sections")
_PICKING = words("getitem index_select narrow select split split_with_sizes chunk tensor_split unbind roll")


def move(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    if name == "pad":
        return _pad(to, args, kwargs, out)
    if name in _RESHAPE:
        return _reshape(to, name, args, kwargs, out)
    results = list(tensors_in(out))
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if name in {"view_as", "reshape_as"}:
        give_up(to, tensors, f"{name!r} arranges its channels like another tensor's")
        return to.put(out, None)
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
    """Freeze what a cut could not follow: channels split into two dimensions, or taken from fixed places."""
    before = torch.cat([source.reshape(-1) for source in sources]).unique()
    if name in _JOINING and len(varying(labels[0])) > min(len(varying(source)) for source in sources):
        _join_rows(to, name, sources, len(list(tensors_in(args))))
    if name not in _PICKING:
        return
    (source,) = sources
    whole = all(torch.equal(label.reshape(-1), source.reshape(-1)) for label in labels)
    if (whole and not _by_position(name, source, args, kwargs)) or picks_rows(to, source, labels):
        return
    by_name = [kwargs[key] for key in _SPLIT_SIZES if key in kwargs]
    sizes = (*by_name, *args[1:], None)[0]
    parts = [label.reshape(-1) for label in labels]
    even = len({(len(part), *varying(label)) for part, label in zip(parts, labels, strict=True)}) == 1
    complete = len(varying(source)) == 1 and torch.equal(torch.cat(parts), source.reshape(-1))
    proportional = name == "chunk" or (name == "tensor_split" and isinstance(sizes, int)) or isinstance(sizes, Width)
    if proportional and even and complete and bool((source > 0).all()):
        return to.equal_parts(parts)
    written = (
        f" (of {_written(sizes)} channels, as the model's code says)" if name.startswith("split") and complete else ""
    )
    to.freeze(before, f"{name!r} takes some of its channels by fixed position{written}")


def _join_rows(to: Recorder, name: str, sources: list[Tensor], joined: int) -> None:
    """Tie channels that were put side by side, in rows: once flattened, they keep their order only if whole rows go."""
    shapes = [source.shape for source in sources]
    if len(sources) == joined and all(len({1, *sizes}) <= 2 for sizes in zip(*shapes, strict=True)):
        for source in sources[1:]:
            to.tie(*torch.broadcast_tensors(sources[0], source))
        return
    for source in sources:
        to.freeze(source, f"{name!r} puts its channels in rows beside others")


def _written(sizes: int | Iterable[int]) -> str:
    return str(sizes) if isinstance(sizes, int) else " and ".join(str(int(size)) for size in sizes)


def _by_position(name: str, source: Tensor, args: tuple, kwargs: dict) -> bool:
    """Tell whether all channels were taken, but by a number or list that would no longer fit after pruning."""
    if name == "getitem":
        return bool(_listed_dims(args[1], source.ndim) & set(varying(source)))
    if name in {"roll", "index_select", "narrow"}:
        position = 2 if name == "roll" else 1
        dims = kwargs.get("dims", kwargs.get("dim", args[position] if len(args) > position else None))
        chosen = range(source.ndim) if dims in (None, ()) else [dims] if isinstance(dims, int) else dims
        return bool({d % source.ndim for d in chosen} & set(varying(source)))
    return False


def _listed_dims(index: object, ndim: int) -> set[int]:
    """Return the dimensions that an index picks from by a list or tensor."""
    items = list(index) if isinstance(index, tuple) else [index]
    takes = [0 if i is None or i is Ellipsis else getattr(i, "ndim", 1) if _is_bool(i) else 1 for i in items]
    if Ellipsis in [i for i in items if not hasattr(i, "shape")]:
        place = next(k for k, i in enumerate(items) if i is Ellipsis)
        takes[place] = ndim - sum(takes)
    starts = [sum(takes[:k]) for k in range(len(items))]
    listed = [k for k, i in enumerate(items) if isinstance(i, (list, tuple, range)) or hasattr(i, "shape")]
    return {d for k in listed for d in range(starts[k], starts[k] + takes[k])}


def _is_bool(index: object) -> bool:
    return str(getattr(index, "dtype", "")).endswith("bool")


def _check_sizes(to: Recorder, name: str, sizes: list[object], label: Tensor) -> None:
    """A number in the model's code would no longer fit after pruning; -1 and numbers read from a shape do."""
    if len(sizes) != label.ndim:
        return to.spend(sizes, repr(name))
    for dim, size in enumerate(sizes):
        flat = along(label, dim, label.size(dim))
        if not isinstance(size, Width):
            if label.size(dim) == 1:
                to.spend([size], repr(name))
            elif size != -1 and not (isinstance(size, Attribute) and flat is not None and to.count(flat.numpy(), size)):
                to.freeze(label, f"{name!r} asks for exactly {size} of them")
            continue
        width = torch.from_numpy(size.ids)
        if label.size(dim) > 1 and bool(torch.isin(width, label).all()):
            continue
        if flat is not None and len(flat) == len(width) == size:  # as many as another tensor has
            to.tie(flat, width)
            continue
        for labels in (label, width):
            to.freeze(labels, f"{name!r} builds a size on its number of channels")

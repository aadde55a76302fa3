"""Labels where an operation takes some of a tensor's channels: splits, slices, chunks.

A cut can follow where the code has the size of a part from somewhere that becomes right with it: an attribute that is
written anew, the shape of another tensor, a share of all. What is taken by a number in the code itself is frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fpgmlab.graph.tracing.attributes import Attribute, Combined
from fpgmlab.graph.tracing.labels import Recorder, keep_ratio, varying, words
from fpgmlab.graph.tracing.rows import picks_rows
from fpgmlab.graph.tracing.widths import Width, numbers_in

PICKING = words("getitem index_select narrow select split split_with_sizes chunk tensor_split unbind roll")
_SPLIT_SIZES = ("split_size", "split_size_or_sections", "split_sizes", "sections", "chunks", "indices_or_sections")
_REMEDY = (
    "let the module hold each number as an attribute that nothing else is worked out from (self.width = 64, "
    "x[:, :self.width]), or take equal parts with chunk"
)
_DIM = {"narrow": 1, "select": 1, "unbind": 1, "index_select": 1}  # where an operation is told its dimension, else 2


class Claim(NamedTuple):
    """A number that says how many the channels from ``start`` to ``stop`` are."""

    start: int
    stop: int
    number: object


def check_picked(to: Recorder, name: str, source: Tensor, labels: list[Tensor], args: tuple, kwargs: dict) -> None:
    """Note what the numbers count by which channels are taken; freeze what a cut could not follow."""
    dims = varying(source)
    claims, others = _claims(name, dims[0] if len(dims) == 1 else None, source, args, kwargs)
    for number in others:
        _relied_on(to, name, number)
    ids = source.reshape(-1).numpy()
    in_turn = sorted(claims, key=lambda claim: isinstance(claim.number, Combined))  # what single ones count is known
    followed = [_counts(to, name, ids[claim.start : claim.stop], claim.number) for claim in in_turn]
    whole = all(torch.equal(label.reshape(-1), source.reshape(-1)) for label in labels)
    if (whole and not _by_position(name, source, args, kwargs)) or picks_rows(to, source, labels):
        return
    if claims and all(followed):
        return
    parts = [label.reshape(-1) for label in labels]
    even = len({(len(part), *varying(label)) for part, label in zip(parts, labels, strict=True)}) == 1
    complete = len(dims) == 1 and torch.equal(torch.cat(parts), source.reshape(-1))
    sizes = _sizes(args, kwargs)
    shared = name == "chunk" or (name == "tensor_split" and isinstance(sizes, int))
    if shared and even and complete and bool((source > 0).all()):
        return to.equal_parts(parts)
    written = (
        f" (of {_written(sizes)} channels, as the model's code says)" if name.startswith("split") and complete else ""
    )
    to.freeze(source, f"{name!r} takes some of its channels by fixed position{written}", _REMEDY)


def _claims(
    name: str, dim: int | None, source: Tensor, args: tuple, kwargs: dict
) -> tuple[list[Claim], list[Width | Attribute]]:
    """Return what is said about the channels along a dimension, and the numbers that say something else."""
    if name == "getitem":
        return _of_index(args[1], dim, source)
    given = [*args[1:], *kwargs.values()]
    numbers = list(numbers_in(given)) + [
        n for each in given if isinstance(each, (list, tuple)) for n in numbers_in(each)
    ]
    place = _DIM.get(name, 2)
    asked = kwargs.get("dim", args[place] if len(args) > place else 0)
    if dim is None or not isinstance(asked, int) or asked % source.ndim != dim:
        return [], numbers
    size = source.size(dim)
    if name == "narrow":
        start, length = (kwargs.get(key, (*args, 0, 0, 0)[2 + i]) for i, key in enumerate(("start", "length")))
        if isinstance(start, Tensor):
            return [], numbers
        before = [] if int.__index__(start) == 0 else [_up_to(start, size)]
        first = start % size if start < 0 else start
        return [*before, Claim(first, first + length, length)], []
    sizes = _sizes(args, kwargs)
    if name in {"split", "split_with_sizes"}:
        each = [sizes] * -(-size // max(int.__index__(sizes), 1)) if isinstance(sizes, int) else list(sizes)
        stops = np.cumsum([int.__index__(n) for n in each]).tolist()
        return [Claim(stop - int.__index__(n), stop, n) for n, stop in zip(each, stops, strict=True)], []
    if name == "tensor_split" and isinstance(sizes, (list, tuple)):
        return [_up_to(n, size) for n in sizes], []
    return [], numbers


def _of_index(index: object, dim: int | None, source: Tensor) -> tuple[list[Claim], list[Width | Attribute]]:
    items = list(index) if isinstance(index, tuple) else [index]
    mine = None if dim is None else next((k for k, start in _places(items, source.ndim) if start == dim), None)
    item = None if mine is None else items[mine]
    others = [n for k, each in enumerate(items) if k != mine for n in numbers_in([each])]
    if not isinstance(item, slice) or item.step not in (None, 1):
        return [], [*others, *numbers_in([item])]
    size = source.numel()  # they change along this dimension alone
    borders = [border for border in (item.start, item.stop) if border is not None and int.__index__(border) != 0]
    # Beyond the end a number in the code stays beyond it.
    return [_up_to(n, size) for n in borders if isinstance(n, (Attribute, Width)) or n < size], others


def _up_to(border: int, size: int) -> Claim:
    """Return what a position says: how many come before it, or, where it is counted from the end, after it."""
    place = int.__index__(border)
    return Claim(0, place, border) if place > 0 else Claim(size + place, size, -border)


def _counts(to: Recorder, name: str, ids: np.ndarray, number: object) -> bool:
    """Tell whether a number becomes right with the channels ``ids``, and note that it must."""
    if isinstance(number, Attribute) and to.count(ids, number):
        return True
    if isinstance(number, Width) and int.__eq__(number, len(ids)):
        to.spend([number], repr(name))
        keep_ratio(to, torch.from_numpy(ids), torch.from_numpy(number.ids))
        return True
    if isinstance(number, (Attribute, Width)):
        _relied_on(to, name, number)
    return False


def _relied_on(to: Recorder, name: str, number: Width | Attribute) -> None:
    to.spend([number], repr(name))
    if isinstance(number, Width):
        to.freeze(torch.from_numpy(number.ids), f"its number of channels shapes another tensor through {name!r}")


def _sizes(args: tuple, kwargs: dict) -> Any:
    """Return the sizes, or the number, of parts."""
    return (*(kwargs[key] for key in _SPLIT_SIZES if key in kwargs), *args[1:], None)[0]


def _written(sizes: int | Iterable[int]) -> str:
    return str(sizes) if isinstance(sizes, int) else " and ".join(str(int.__index__(size)) for size in sizes)


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


def _places(items: list, ndim: int) -> Iterator[tuple[int, int]]:
    """Yield (place of an item in an index, first dimension that it picks from)."""
    takes = [_takes(item) for item in items]
    place = next((k for k, item in enumerate(items) if item is Ellipsis), None)
    if place is not None:
        takes[place] = ndim - sum(takes)
    for k, item in enumerate(items):
        if item is not None and takes[k]:
            yield k, sum(takes[:k])


def _takes(item: object) -> int:
    """Return how many dimensions an item of an index picks from."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return getattr(item, "ndim", 1) if str(getattr(item, "dtype", "")).endswith("bool") else 1


def _listed_dims(index: object, ndim: int) -> set[int]:
    """Return the dimensions that an index picks from by a list or tensor."""
    items = list(index) if isinstance(index, tuple) else [index]
    listed = [k for k, i in enumerate(items) if isinstance(i, (list, tuple, range)) or hasattr(i, "shape")]
    return {d for k, start in _places(items, ndim) if k in listed for d in range(start, start + _takes(items[k]))}

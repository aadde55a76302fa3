"""Labels over reshapes: channels put in rows (attention heads, shuffles), rows put in line again, sizes that must fit.

After a cut a reshape must still give a rectangle. Of the dimensions that channels are spread over exactly one may
shrink, the *open* one: what lies within each of its entries goes together (a head is one channel of its group), and
what lies around it are parts that stay equally long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fpgmlab.graph.tracing.attributes import Attribute, Derived
from fpgmlab.graph.tracing.labels import Recorder, along, compact, keep_ratio, varying
from fpgmlab.graph.tracing.reasons import HELD_ROWS, OWN_SIZE
from fpgmlab.graph.tracing.shapes import Block, blocks_of, finer, in_runs
from fpgmlab.graph.tracing.widths import Width


def rearrange(
    to: Recorder, name: str, label: Tensor, before: Sequence[int], after: Sequence[int], sizes: Sequence[object]
) -> Tensor | None:
    """Return the labels of a reshaped tensor; None where they were frozen.

    Parameters
    ----------
    to : Recorder
    name : str
        Of the operation.
    label : Tensor
        Of the tensor before it, compact.
    before, after : sequence of int
        The tensor's shape before and after.
    sizes : sequence of object
        What the model's code asked for, one for each dimension after it, -1 where it asked for nothing.
    """
    asked = dict(enumerate(sizes))
    between = finer(before, after)
    spread = None if between is None else _spread(label, before, between)
    if between is not None and spread is not None:
        label, before = spread, between
    sides = blocks_of(before, after)
    moved = _reshaped(to, name, label, before, after, sides)
    if moved is None:
        return None
    for _, outer in sides:
        wide = [dim for dim in outer if moved.size(dim) > 1]
        if len(wide) > 1:
            found = _in_rows(to, name, moved, wide, asked)
            if found is None:
                return None
            moved = found
    _check_sizes(to, name, moved, asked)
    return moved


def _spread(label: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor | None:
    """Return the labels of a tensor whose dimensions were split; None where that puts channels in rows."""
    sizes: list[int] = []
    split = blocks_of(before, after)
    for (dim,), parts in split:
        sizes += [after[part] if label.size(dim) > 1 else 1 for part in parts]
    spread = compact(label.reshape(sizes))
    in_rows = any(sum(spread.size(part) > 1 for part in parts) > 1 for _, parts in split)
    return None if in_rows else spread


def _reshaped(
    to: Recorder, name: str, label: Tensor, before: Sequence[int], after: Sequence[int], sides: Sequence[Block]
) -> Tensor | None:
    """Return the labels where they lie after a reshape; None where the order of channels would not survive a cut."""
    full = [1] * len(before)
    new = [1] * len(after)
    for mine, other in sides:
        spread = [dim for dim in mine if label.size(dim) > 1]
        if not spread:
            continue
        if len(mine) > 1 and len(other) > 1:
            to.freeze(label, f"{name!r} arranges its channels anew")
            return None
        if len(spread) > 1:
            _put_in_line(to, label, spread)
        for dim in mine:
            full[dim] = before[dim]
        for dim in other:
            new[dim] = after[dim]
    return compact(label.expand(full).reshape(new))


def _put_in_line(to: Recorder, label: Tensor, spread: Sequence[int]) -> None:
    """Rows that become one line keep their order as they are, but columns only where whole columns go."""
    parts = to.rows.of(label)
    for place, dim in enumerate(spread):
        apart = bool((parts != parts.narrow(dim, 0, 1)).any())
        if apart and place:  # the rows are what runs fastest
            to.tie(*torch.broadcast_tensors(label, label.narrow(dim, 0, 1)))


def _in_rows(to: Recorder, name: str, label: Tensor, spread: list[int], asked: dict[int, object]) -> Tensor | None:
    """Say which dimension is open, tie what lies within its entries, keep what is around it equally long."""
    chosen = _open(to, label, spread, asked)
    if chosen is None or not bool((label > 0).all()):
        sizes = " x ".join(str(int(label.size(dim))) for dim in spread)
        to.freeze(label, f"{name!r} arranges its channels in rows ({sizes}, as the model's code says)", HELD_ROWS)
        return None
    inner = [dim for dim in spread if dim > chosen]
    together = math.prod(label.size(dim) for dim in inner)
    for dim in inner:
        first = label.narrow(dim, 0, 1)
        to.tie(*torch.broadcast_tensors(label, first))
        label = first
    if inner:
        to.units(label, together, _unit(asked.get(chosen)))
    rows = label.movedim(chosen, -1).reshape(-1, label.size(chosen))
    if len(rows) > 1:
        to.equal_parts(list(rows))
        to.rows.add(list(rows))
        size = asked.get(chosen)
        if isinstance(size, Width) and not bool(torch.isin(torch.from_numpy(size.ids), label).any()):
            ids = torch.from_numpy(size.ids)
            if len(ids) % int(size):
                to.freeze(ids, f"{name!r} builds a size on its number of channels", OWN_SIZE)
            else:  # as many channels in each row as a part of another tensor has
                to.equal_parts([*rows, *ids.chunk(len(ids) // int(size))])
    return label


def _open(to: Recorder, label: Tensor, spread: list[int], asked: dict[int, object]) -> int | None:
    """Return the dimension that shrinks when channels go; None where the code fixes all of them."""
    heads = [dim for dim in spread if _unit(asked.get(dim)) == "head"]
    own = [dim for dim in spread if _is_own(asked.get(dim), label)]
    own = [dim for dim in own if not any(_is_by(asked[dim], asked.get(head)) for head in heads)]
    if own:  # the code works it out anew from what is there
        return own[0] if len(own) == 1 else None
    free = [dim for dim in spread if _is_free(asked.get(dim))]
    counts = [dim for dim in spread if isinstance(asked.get(dim), Attribute)]
    others = [dim for dim in spread if isinstance(asked.get(dim), Width)]
    return next(iter([*heads, *free, *counts, *others]), None)


def _is_own(size: object, label: Tensor) -> bool:
    return isinstance(size, Width) and bool(torch.isin(torch.from_numpy(size.ids), label).all())


def _is_free(size: object) -> bool:
    return type(size) is int and size == -1


def _unit(size: object) -> str:
    """Return what the entries of an open dimension are: by what the attribute that counts them is called."""
    if not isinstance(size, Attribute) or isinstance(size, Derived):
        return ""
    words = size.name.rpartition(".")[2].lower().replace("nhead", "n_head").split("_")
    return "head" if {"head", "heads"} & set(words) and not {"dim", "dims", "size", "channels"} & set(words) else ""


def _is_by(size: object, count: object) -> bool:
    """Tell whether a size is a number of channels for each of what an attribute counts."""
    by = size.by if isinstance(size, Width) else None
    return by is not None and isinstance(count, Attribute) and (count.name, count.place) == (by.name, by.place)


def _check_sizes(to: Recorder, name: str, label: Tensor, asked: dict[int, object]) -> None:
    """A number in the model's code would no longer fit after pruning; -1 and numbers read from a shape do."""
    parts = to.rows.of(label)
    spread = varying(label)
    rows = {d for d in spread if len(spread) > 1 and bool((parts != parts.narrow(d, 0, 1)).any())}
    opened = [dim for dim in spread if dim not in rows]
    for dim, size in asked.items():
        if dim in opened:
            _check_open(to, name, label, dim, size)
        elif isinstance(size, Width):
            if not _in_proportion(to, label, opened, asked, size):
                to.spend([size], repr(name))
                for labels in (label, torch.from_numpy(size.ids)):
                    to.freeze(labels, f"{name!r} builds a size on its number of channels", OWN_SIZE)
        else:
            to.spend([size], repr(name))


def _check_open(to: Recorder, name: str, label: Tensor, dim: int, size: object) -> None:
    if isinstance(size, Width):
        to.spend([size], repr(name))
    if _is_free(size) or _is_own(size, label):
        return
    row = label.movedim(dim, -1).reshape(-1, label.size(dim))[0]  # the others are as long
    if isinstance(size, Attribute) and to.count(row.numpy(), size):
        return
    if not isinstance(size, Width):
        to.freeze(label, f"{name!r} asks for exactly {size} of them", OWN_SIZE)
        return
    width, flat = torch.from_numpy(size.ids), along(label, dim, label.size(dim))
    if flat is not None and len(flat) == len(width) == size:  # as many as another tensor has
        to.tie(flat, width)
    elif flat is not None and len(flat) % len(width) == 0 and in_runs(flat.numpy(), len(flat) // len(width)):
        to.tie(flat[:: len(flat) // len(width)], width)  # as many as all heads of another one have
    elif flat is not None and len(flat) == size:  # a share of them
        keep_ratio(to, flat, width)
    elif flat is not None or len(width) % int(size):
        for labels in (label, width):
            to.freeze(labels, f"{name!r} builds a size on its number of channels", OWN_SIZE)


def _in_proportion(to: Recorder, label: Tensor, opened: Sequence[int], asked: dict[int, object], size: Width) -> bool:
    """Tell whether a size stays what it is: a number of channels by a number of heads that goes down with it."""
    if len(opened) != 1 or not _is_by(size, asked.get(opened[0])):
        return False
    ids, heads = torch.from_numpy(size.ids), label.size(opened[0])
    if len(ids) != heads * int(size):
        return False
    flat = label.movedim(opened[0], -1).reshape(-1, heads)[0]
    to.tie(ids, flat.repeat_interleave(int(size)))
    to.settle(size)
    return True


def picks_rows(to: Recorder, source: Tensor, picked: Sequence[Tensor]) -> bool:
    """Tell whether whole rows were taken from channels in rows, of which there are as many after any cut.

    Parameters
    ----------
    to : Recorder
    source : Tensor
        Labels of what was picked from.
    picked : sequence of Tensor
        Labels of the results.
    """
    spread = varying(source)
    if len(spread) < 2:
        return False
    parts = to.rows.of(source)
    for dim in spread:
        one = parts.narrow(dim, 0, 1)
        even = all(bool((parts == parts.narrow(d, 0, 1)).all()) for d in spread if d != dim)
        if even and bool((parts != one).any()):
            rows = [set(row.tolist()) for row in source.movedim(dim, 0).reshape(source.size(dim), -1)]
            return all(_is_made_of(rows, set(result.reshape(-1).tolist())) for result in picked)
    return False


def _is_made_of(rows: Sequence[set[int]], ids: set[int]) -> bool:
    return ids == set().union(*(row for row in rows if row <= ids))

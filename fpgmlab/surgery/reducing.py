"""Operations that run over channels, run over those that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.running import Place, Running
from fpgmlab.graph.tracing.reductions import GIVES_CHANNELS, MIXING_NORMS, PRODUCTS, STANDARDISING
from fpgmlab.surgery.cutting import kept_of

_FILL = 0.5  # for removed channels, which nobody reads: what may be divided by, and have its logarithm taken


@contextmanager
def over_kept(graph: ChannelGraph, keep: Tensor) -> Iterator[None]:
    """Let the operations of the graph's model that run over channels run over those that stay.

    Parameters
    ----------
    graph : ChannelGraph
    keep : Tensor, (channels,)
        Which of all groups' channels stay, bool.
    """
    stay = {each.place: (each.dim, kept_of(each.channels, keep)) for each in graph.reductions}
    stay = {place: (dim, kept) for place, (dim, kept) in stay.items() if not bool(kept.all())}
    if not stay:
        yield
        return
    running = Running()
    with running.watching(graph.model), _OverKept(running, stay):
        yield


class _OverKept(TorchFunctionMode):
    """Knows an operation by its place in the model's code."""

    def __init__(self, running: Running, stay: Mapping[Place, tuple[int, Tensor]]) -> None:
        super().__init__()
        self._running, self._stay = running, stay
        self._operations = {place.operation for place in stay}

    def __torch_function__(self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        place = self._running.place(name) if name in self._operations else None
        found = None if place is None else self._stay.get(place)
        if place is None or found is None:
            return func(*args, **kwargs)
        if not args:
            first = "query" if "query" in kwargs else "input"
            args, kwargs = (kwargs[first],), {k: v for k, v in kwargs.items() if k != first}
        if name in STANDARDISING:
            return _standardise(func, args, kwargs, found[1])
        return _run(place, func, args, kwargs, *found)


def _run(place: Place, func: Callable, args: tuple, kwargs: dict, dim: int, stay: Tensor) -> Any:
    """Run an operation over the channels along a dimension of its first argument that stay, (channels,) bool."""
    x = args[0]
    there = getattr(x, "stay", None)  # what a simulation within this one has left of the channels
    here = stay if there is None else stay[there]
    if x.ndim <= dim or x.shape[dim] != len(here):
        raise RuntimeError(
            f"{place} runs over {tuple(x.shape)}, where tracing saw {len(stay)} channels along dimension {dim}: the "
            "model's code goes another way than it did then, and cannot be simulated. Trace it with this input."
        )
    index = here.nonzero().squeeze(1).to(x.device)
    taken = x.index_select(dim, index)
    vars(taken)["stay"] = stay if there is None else stay & there
    if place.operation in MIXING_NORMS:
        args, kwargs = _norm_arguments(place.operation, args, kwargs, index)
    if place.operation in PRODUCTS:
        args, kwargs = _second_taken(place.operation, args, kwargs, index)
    found = func(taken, *args[1:], **kwargs)
    if place.operation not in GIVES_CHANNELS:
        return found
    sizes = (*found.shape[:dim], x.shape[dim], *found.shape[dim + 1 :])  # a convolution may sum up other dimensions
    return found.new_full(sizes, _FILL).index_copy_(dim, index, found)


def _standardise(func: Callable, args: tuple, kwargs: dict, stay: Tensor) -> Tensor:
    """Standardise filters, (1, filters, numbers of each), over the channels that stay; zeros for the others.

    ``stay``, (groups * numbers of each,) bool, has the numbers that stay in the filters of each group.
    """
    x = args[0]
    there = getattr(x, "stay", None)  # by filter, of a simulation within this one
    width = x.shape[2] if there is None else there.shape[1]
    each = stay.reshape(-1, width)
    each = each.repeat_interleave(x.shape[1] // len(each), dim=0)  # (filters, numbers of each)
    here = each if there is None else each[there].reshape(x.shape[1], -1)
    index = here.nonzero()[:, 1].reshape(1, len(here), -1).to(x.device)  # as many of each
    taken = x.gather(2, index)
    vars(taken)["stay"] = each if there is None else each & there
    return torch.zeros_like(x).scatter(2, index, func(taken, *args[1:], **kwargs))


def _second_taken(name: str, args: tuple, kwargs: dict, index: Tensor) -> tuple[tuple, dict]:
    """Return the arguments of a product with some channels of its second operand."""
    key = next((k for k in ("other", "mat2", "key") if k in kwargs), None)
    other = args[1] if key is None else kwargs[key]
    taken = other.index_select(-1 if name == "scaled_dot_product_attention" else max(-2, -other.ndim), index)
    return ((args[0], taken, *args[2:]), kwargs) if key is None else (args, {**kwargs, key: taken})


def _norm_arguments(name: str, args: tuple, kwargs: dict, index: Tensor) -> tuple[tuple, dict]:
    """Return the arguments of a norm with its weights, and what it is told of their number, for some channels."""
    order = ("shape", "weight", "eps") if name == "rms_norm" else ("shape", "weight", "bias", "eps")
    given = dict(zip(order, args[1:], strict=False))
    given |= {"shape" if k in {"normalized_shape", "num_groups"} else k: v for k, v in kwargs.items()}
    shape = given.pop("shape") if name == "group_norm" else (len(index),)
    given.pop("shape", None)
    taken = {k: v.index_select(0, index) if isinstance(v, Tensor) else v for k, v in given.items() if v is not None}
    return (args[0], shape), taken

"""Operations that run over dimensions: means, maxima and norms, softmax and normalisations without weights.

What runs over its channels is noted with its place in the model's code. In the pruned network it runs over those that
stay, and `fpgmlab.simulate` lets it do the same. What tells channels by their number (``argmax``, ``sort``) is frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fpgmlab.common.modules import tensors_in
from fpgmlab.graph.running import Place
from fpgmlab.graph.tracing.labels import ALONG, REDUCTION, Recorder, Rule, rule_for, varying, words
from fpgmlab.graph.tracing.reduced import Reduced

_EVEN = words("mean sum amax amin max min")  # take every tensor alike
_BY_NUMBER = words("argmax argmin cumsum sort argsort topk glu")
MIXING_NORMS = frozenset({"layer_norm", "rms_norm", "group_norm"})
PRODUCTS = words("matmul bmm scaled_dot_product_attention")  # whose first two operands may have the same channels
SLIDING = words("conv1d conv2d conv3d")
STANDARDISING = words("batch_norm")  # of a weight, see `fpgmlab.graph.tracing.standardised`
OVER_CHANNELS = (
    REDUCTION | ALONG | MIXING_NORMS | PRODUCTS | SLIDING | STANDARDISING
)  # what may run over those that stay
GIVES_CHANNELS = ALONG | MIXING_NORMS | SLIDING


class Reducing(Recorder, Protocol):
    """What the rules here tell the tracer on top of `fpgmlab.graph.tracing.labels.Recorder`."""

    place: Place | None  # of the running torch function
    counting: bool
    reductions: dict[Place, tuple[int, np.ndarray]]
    reduced: Reduced


def runs_over(to: Reducing, channels: Tensor, dim: int) -> None:
    """Note that the running torch function runs over channels, (n,) along ``dim``: after a cut over those that stay."""
    if not to.counting:
        return  # nobody simulates training
    if to.place is None:
        return to.freeze(channels, "is reduced outside of the model's modules")
    found = (dim, channels.numpy())
    known = to.reductions.setdefault(to.place, found)
    if known is found:
        return
    other = torch.from_numpy(known[1])
    if (known[0], len(other)) == (dim, len(channels)):
        return to.tie(other, channels)
    for labels in (other, channels):
        to.freeze(labels, f"{to.place} runs over channels of two kinds")


def reduction_rule(name: str) -> Rule | None:
    """Return the rule for an operation that runs over dimensions (its name without underscores), else None."""
    if name in REDUCTION or name in {"argmax", "argmin"}:
        return _reduction
    return _along if name in ALONG | _BY_NUMBER else None


def _dims(name: str, args: tuple, kwargs: dict, ndim: int) -> list[int]:
    """Return the dimensions that a reduction runs over."""
    position = 2 if name.endswith("norm") else 1  # norm(x, p, dim)
    dims = kwargs.get("dim", kwargs.get("axis", args[position] if len(args) > position else None))
    if dims is None or isinstance(dims, bool) or dims in ((), []):  # var(x, unbiased)
        return list(range(ndim))
    return [d % ndim for d in ([dims] if isinstance(dims, int) else dims)]


def _reduction(to: Reducing, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves((args[1:], kwargs))):  # max(a, b) of two tensors
        two = rule_for("maximum")
        assert two is not None
        return two(to, f"{name}imum", func, args, kwargs, out)
    label = to.get(args[0])
    if label is None:
        return to.put(out, None)
    dims = _dims(name, args, kwargs, label.ndim)
    over, rest = set(dims) & set(varying(label)), set(varying(label)) - set(dims)
    whole = label
    if over and rest and name in _EVEN:  # of stacked tensors: as if they were added
        first = label
        for dim in over:
            first = first.narrow(dim, 0, 1)
        to.tie(*torch.broadcast_tensors(label, first))
        label = first
    elif len(over) == 1 and not rest and name in REDUCTION:
        runs_over(to, label.reshape(-1), over.pop())
        label = None
    elif over:
        to.freeze(label, f"{name!r} runs over its channels")
        label = None
    for i, result in enumerate(tensors_in(out)):  # max(x, dim) also gives the places
        kept = [n for d, n in enumerate(label.shape) if d not in dims] if label is not None else []
        to.put(result, label if label is None or result.ndim == label.ndim else label.reshape(kept))
        if label is None:
            to.reduced.add(result, whole.reshape(-1).numpy(), places=i > 0 and not result.is_floating_point())


def _along(to: Reducing, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    label = to.get(args[0])
    if label is None:
        return to.put(out, None)
    dim = _dim(name, args, kwargs, label.ndim)
    if name == "glu" and dim is not None and varying(label) == [dim]:
        first, second = label.chunk(2, dim)  # one half times the sigmoid of the other
        to.equal_parts([first.reshape(-1), second.reshape(-1)])
        to.tie(first, second)
        return to.put(out, torch.where(first > 0, first, second))
    if name in ALONG and dim is not None and varying(label) == [dim]:
        runs_over(to, label.reshape(-1), dim)
    elif name in ALONG and dim in varying(label):  # over rows or stacked tensors: a channel stays in all or in none
        first = label.narrow(dim, 0, 1)
        to.tie(*torch.broadcast_tensors(label, first))
        label = first
    elif name == "topk" or dim is None or dim in varying(label):
        to.freeze(label, f"{name!r} runs over its channels")
        label = None
    for result in tensors_in(out):  # sort also gives the places
        to.put(result, label)


def _dim(name: str, args: tuple, kwargs: dict, ndim: int) -> int | None:
    """Return the dimension that an operation runs along, None where that is not plain."""
    if name == "local_response_norm":
        return 1
    position, default = {"normalize": (2, 1), "softmax": (1, None), "log_softmax": (1, None)}.get(name, (1, -1))
    asked = kwargs.get("dim", args[position] if len(args) > position else default)
    return asked % ndim if isinstance(asked, int) and not isinstance(asked, bool) else None

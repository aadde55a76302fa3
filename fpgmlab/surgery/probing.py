"""A second look at a graph: networks that are really cut, against the whole one without those channels.

Tracing follows labels. What a model's code calculates with a plain number of channels has none; but it shows in the
outputs of a network that was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import kept_channels, lowest
from fpgmlab.surgery.cutting import cut_out
from fpgmlab.surgery.simulation import simulate

_RATIO = 0.5  # so many channels less change whatever depends on their number by much
_OTHERWISE = (
    "the network answers otherwise without some of them than it should, as if its code calculated with their number"
)
# What frees them.
REMEDY = "let the model's code read their number from a tensor's shape wherever it calculates with it"
_APART = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}


def unlike(graph: ChannelGraph) -> dict[str, str]:
    """Return the groups whose cut network answers otherwise than its simulation, or does not run; with the reason.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is. A model whose answers are random, or no numbers, tells nothing.
    """
    if any(tensor.is_meta for tensor in (*graph.model.parameters(), *graph.model.buffers())):
        return {}
    found = _found(graph, 1.0)
    if graph.rules:  # what a user said of a layer: each channel goes once, so that no single one is missed
        found |= _found(graph.protecting(found), -1.0)
    return found


def _found(graph: ChannelGraph, sign: float) -> dict[str, str]:
    """Return the same by one cut: of half of each group, or, by the other sign, of the other half."""
    rng = np.random.default_rng(0)
    removed: dict[str, tuple[int, ...]] = {}
    for name, group in graph.items():
        kept = kept_channels(group, _RATIO)
        if kept < group.channels:
            scores = {name: torch.from_numpy(sign * rng.random(group.channels))}
            if group.protected is None:
                removed[name] = lowest(group, scores, group.channels - kept)
    found: dict[str, str] = {}
    while removed and (reason := _differ(graph, removed)) and len(found) < len(graph):
        guilty = _narrowed(graph, list(removed), removed, reason)
        for name, why in guilty.items():
            found[name] = why
            del removed[name]
    return found


def _narrowed(
    graph: ChannelGraph, names: Sequence[str], removed: Mapping[str, tuple[int, ...]], reason: str
) -> dict[str, str]:
    """Return groups among some that differ together: single ones where single ones do, else all of the last half."""
    if len(names) == 1:
        return {names[0]: reason}
    found: dict[str, str] = {}
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        if why := _differ(graph, {name: removed[name] for name in half}):
            found |= _narrowed(graph, half, removed, why)
    return found or dict.fromkeys(names, reason)


def _differ(graph: ChannelGraph, removed: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return in words how a cut network differs from its simulation; None where it does not, or nobody can tell."""
    plan = Plan({name: group.channels for name, group in graph.items()}, removed)
    with torch.no_grad(), left_as_it_is(graph.model), eval_mode(graph.model):
        try:
            wanted = _simulated(graph, plan)
        except Exception:  # whatever its code may raise: there is nothing to compare with
            return None
        try:
            cut_out(graph.model, graph.layers, torch.from_numpy(graph.keep(plan)))
            got = list(tensors_in(call(graph.model, graph.example_input)))
        except Exception as error:
            what = next(iter(str(error).strip().splitlines()), "")
            found = f"the network does not run without some of them ({type(error).__name__}: {what[:120]})"
        else:
            if _alike(wanted, got):
                return None
            found = _OTHERWISE
    # A network that is random, or whose answers a rounding error changes, tells nothing.
    with torch.no_grad(), left_as_it_is(graph.model), eval_mode(graph.model):
        return found if _alike(wanted, _simulated(graph, plan)) else None


def _simulated(graph: ChannelGraph, plan: Plan) -> list[Tensor]:
    with simulate(graph, plan) as model:
        return [tensor.detach().clone() for tensor in tensors_in(call(model, graph.example_input))]


def _alike(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> bool:
    if [one.shape for one in wanted] != [other.shape for other in got]:
        return True  # as many boxes as a detector finds: what differs in number cannot be compared
    for one, other in zip(wanted, got, strict=True):
        if one.numel() and one.is_floating_point():
            size, apart = float(one.abs().max()), float((one.double() - other.double()).abs().max())
            if np.isfinite(size) and not apart <= _APART.get(one.dtype, 0.2) * max(size, 1e-30):
                return False
    return True

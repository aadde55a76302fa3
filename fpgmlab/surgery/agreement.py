"""How far simulated and really pruned outputs are apart."""

from __future__ import annotations

import torch

from fpgmlab.common.calling import call, is_random
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.surgery.pruning import prune
from fpgmlab.surgery.simulation import simulate


def agreement(graph: ChannelGraph, plan: Plan, example_input: object | None = None) -> float:
    """Return the largest difference between simulated and pruned outputs, relative to the largest output.

    Parameters
    ----------
    graph : ChannelGraph
    plan : Plan
    example_input : optional
        What to call the models with; the graph's own when left out.

    Raises
    ------
    RuntimeError
        For a model that is random in eval mode, and when simulated and pruned outputs differ in shape.

    Examples
    --------
    >>> fl.agreement(graph, plan) < 1e-4
    True
    """
    inputs = graph.example_input if example_input is None else example_input
    pruned = prune(graph, plan)
    with torch.no_grad(), eval_mode(graph.model), eval_mode(pruned):
        with simulate(graph, plan) as model:
            simulated = list(tensors_in(call(model, inputs)))
        cut = list(tensors_in(call(pruned, inputs)))
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(simulated, cut, strict=True) if b.numel()]
    if any(a.shape != b.shape for a, b in pairs):
        _check_random(graph, inputs)
        raise RuntimeError(
            f"simulated and pruned outputs differ in shape: {[(*a.shape,) for a, _ in pairs]} and "
            f"{[(*b.shape,) for _, b in pairs]}"
        )
    scale = max((float(b.abs().max()) for _, b in pairs), default=0.0)
    apart = torch.tensor([float((a - b).abs().max()) for a, b in pairs] or [0.0])
    found = float(apart.max()) / max(scale, 1e-30)  # NaN stays NaN
    if found > 1e-3:
        _check_random(graph, inputs)
    return found


def _check_random(graph: ChannelGraph, inputs: object) -> None:
    if is_random(graph.model, lambda: call(graph.model, inputs)):
        raise RuntimeError(
            f"{type(graph.model).__name__} answers the same input differently each time, in eval mode too (dropout by "
            "F.dropout without training=, noise): two runs of one model differ, so do the simulated and the pruned one."
        )

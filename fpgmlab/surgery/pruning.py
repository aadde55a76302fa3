"""Surgery: the channels of a plan cut out of a copy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import eval_mode
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import add_plan
from fpgmlab.surgery.cutting import cut_out


def prune(graph: ChannelGraph, plan: Plan) -> nn.Module:
    """Cut the channels that a plan removes out of a copy of the model.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is.
    plan : Plan
        Made for this graph.

    Returns
    -------
    nn.Module
        A smaller model of the same class, on the same device, in the same mode; it notes the plan in its provenance,
        and the numbers of channels that were written into attributes of its modules.

    Raises
    ------
    TypeError
        When the first argument is no graph, such as the network itself.
    ValueError
        For a plan that was made for another network or other widths.
    RuntimeError
        When the model cannot be copied, or the pruned one does not run; with the layer where it failed.

    Examples
    --------
    >>> pruned = fl.prune(graph, plan)
    >>> sum(p.numel() for p in pruned.parameters()) == graph.cost(plan).params
    True
    """
    check_graph(graph)
    keep = torch.from_numpy(graph.keep(plan))
    try:
        pruned = copy_of(graph.model)
    except Exception as error:
        raise RuntimeError(f"{type(graph.model).__name__} cannot be copied: {error}") from error
    numbers = cut_out(pruned, graph.layers, keep)
    if any(plan.removed.values()):
        _try_run(pruned, graph)
        if graph.training_only:
            _try_run(pruned, graph, training=True)
    add_plan(pruned, plan, numbers, _unsaved(graph.model, pruned))
    return pruned


def _unsaved(whole: nn.Module, pruned: nn.Module) -> list[str]:
    """Return the buffers that were cut and that no state dict holds, by name."""
    saved, before = set(pruned.state_dict()), dict(whole.named_buffers())
    return [n for n, b in pruned.named_buffers() if n not in saved and n in before and b.shape != before[n].shape]


def _try_run(pruned: nn.Module, graph: ChannelGraph, training: bool = False) -> None:
    """Raise a `RuntimeError` when the pruned model does not run where the whole one does."""
    running: list[str] = []
    handles = []

    def leave(*_: object) -> None:
        running.pop()

    for name, module in pruned.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
            handles.append(module.register_forward_hook(leave))
    try:
        _run(pruned, graph.example_input, training)
    except Exception as error:
        if training and not _runs(graph.model, graph.example_input):
            return
        mode = " in training mode" if training else ""
        where = repr(running[-1]) if running and running[-1] else "its own code"
        raise RuntimeError(
            f"the pruned {type(pruned).__name__} does not run{mode}: {where} failed with "
            f"{type(error).__name__}: {error}. What was cut does not fit there; trace with protect=[...] for the "
            "groups around it."
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _run(model: nn.Module, example_input: object, training: bool) -> None:
    if training:  # one example is too few for a batch norm's statistics of a single pixel
        twice = tree_map_only(
            Tensor, lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim else tensor, example_input
        )
        example_input = example_input if isinstance(example_input, list) else twice
    with left_as_it_is(model), eval_mode(model, training), torch.no_grad(), torch.random.fork_rng(devices=[]):
        call(model, example_input)


def _runs(model: nn.Module, example_input: object) -> bool:
    """Tell whether the whole model runs in training mode; a detector may want targets there."""
    try:
        _run(model, example_input, training=True)
    except Exception:  # whatever its code may raise
        return False
    return True

"""Surgery: the channels of a plan cut out of a copy."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fpgmlab.common.attributes import match_attributes
from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode, split_name, tensor_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import add_plan
from fpgmlab.surgery.cutting import cuts, holders_of, kept_of


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
        A smaller model of the same class, on the same device, in the same mode; it notes the plan in its provenance.

    Raises
    ------
    ValueError
        For a plan that was made for another network or other widths.
    RuntimeError
        When the model cannot be copied, or the pruned one does not run, because its code relies on a number of
        channels; with the layer.
    """
    keep = torch.from_numpy(graph.keep(plan))
    try:
        pruned = copy.deepcopy(graph.model)
    except Exception as error:
        raise RuntimeError(f"{type(graph.model).__name__} cannot be copied: {error}") from error
    modules = dict(pruned.named_modules())
    holders = holders_of(pruned)
    for layer in graph.layers:
        keep_in, keep_out = kept_of(layer.inputs, keep), kept_of(layer.outputs, keep)
        if bool(keep_in.all()) and bool(keep_out.all()):
            continue
        for name, cut in cuts(layer, modules, keep_in, keep_out):
            _replace(holders, name, cut)
        module = modules[split_name(layer.name)[0] if layer.kind == "tensor" else layer.name]
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.num_features = int(keep_out.sum())  # it may have no tensor to tell
        match_attributes(module)
    if any(plan.removed.values()):
        _try_run(pruned, graph)
    add_plan(pruned, plan)
    return pruned


def _replace(holders: dict[str, list[tuple[nn.Module, str]]], name: str, cut: Callable[[Tensor], Tensor]) -> None:
    module, key = holders[name][0]
    old = tensor_of(module, key)
    new = cut(old.detach()).clone()
    parameter = nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else None
    for module, key in holders[name]:
        if parameter is not None:
            module._parameters[key] = parameter
        else:
            module._buffers[key] = new


def _try_run(pruned: nn.Module, graph: ChannelGraph) -> None:
    running: list[str] = []
    handles = []

    def leave(*_: object) -> None:
        running.pop()

    for name, module in pruned.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
            handles.append(module.register_forward_hook(leave))
    try:
        with left_as_it_is(pruned), eval_mode(pruned), torch.no_grad():
            call(pruned, graph.example_input)
    except Exception as error:
        where = repr(running[-1]) if running and running[-1] else "its own code"
        raise RuntimeError(
            f"the pruned {type(pruned).__name__} does not run: {where} failed with {error}. Its code relies on a "
            "number of channels; trace with protect=[...] for the groups around it."
        ) from error
    finally:
        for handle in handles:
            handle.remove()

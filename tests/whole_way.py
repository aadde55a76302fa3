"""The whole way of a network that somebody brings: traced, cut, counted, trained, saved, loaded, exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import fpgmlab as fl
from fpgmlab.common.batches import examples_in
from fpgmlab.common.calling import call
from fpgmlab.common.modules import eval_mode, tensors_in

COUNTED = {torch.ops.aten.convolution, torch.ops.aten._convolution, torch.ops.aten.mm, torch.ops.aten.addmm}


class CountedMacs(TorchDispatchMode):
    """Counts MACs of convolutions and linear layers, by torch's own formulas for its operations."""

    macs = 0

    def __torch_dispatch__(self, func: Any, types: Sequence, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in COUNTED:
            self.macs += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out) // 2
        return out


def outputs_of(model: nn.Module, example: object) -> list[Tensor]:
    """Return what a model gives in eval mode."""
    with torch.no_grad(), eval_mode(model):
        return [tensor.detach().clone() for tensor in tensors_in(call(model, example))]


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest number."""
    assert [tensor.shape for tensor in one] == [tensor.shape for tensor in other]
    pairs = [(a.double(), b.double()) for a, b in zip(one, other, strict=True) if a.numel()]
    scale = max((float(b.abs().max()) for _, b in pairs), default=0.0)
    return max((float((a - b).abs().max()) for a, b in pairs), default=0.0) / max(scale, 1e-30)


def check_cut(graph: fl.ChannelGraph, plan: fl.Plan, *, macs: bool = True, tolerance: float = 1e-4) -> nn.Module:
    """Assert that simulation, surgery and costs agree; return the pruned network."""
    example = graph.example_input
    small = fl.prune(graph, plan)
    with fl.simulate(graph, plan):
        simulated = outputs_of(graph.model, example)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides its projections from the counter
    with CountedMacs() as counted:
        pruned = outputs_of(small, example)
    torch.backends.mha.set_fastpath_enabled(fast)
    assert apart(simulated, pruned) <= tolerance
    cost = graph.cost(plan)
    assert cost.params == sum(parameter.numel() for parameter in small.parameters())
    if macs:
        assert cost.macs * examples_in(example) == counted.macs
    return small


def check_trains(small: nn.Module, example: object) -> None:
    """Assert that a step of training runs backwards to some weight."""
    small.train()
    found = [tensor.float().sum() for tensor in tensors_in(call(small, example)) if tensor.requires_grad]
    assert found, "nothing to train"
    torch.stack(found).sum().backward()
    assert any(p.grad is not None for p in small.parameters())
    small.zero_grad()
    small.eval()


def check_saved(small: nn.Module, fresh: Callable[[], nn.Module], example: object, folder: Path) -> None:
    """Assert that a saved network answers alike when it is loaded into a fresh one."""
    path = folder / "small.safetensors"
    fl.save(small, path)
    # A loaded tensor lies elsewhere in memory, and another kernel may take it.
    assert apart(outputs_of(fl.load(path, model=fresh()), example), outputs_of(small, example)) <= 1e-5

"""What networks, graphs and plans of many tests are made with and held to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torchvision
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in


def random_plan(graph: fl.ChannelGraph, seed: int = 0) -> fl.Plan:
    """Return a plan that removes random channels of every free group, as many from each block."""
    rng = random.Random(seed)
    removed = {}
    for name, group in graph.items():
        blocks = group.blocks or (0,) * group.channels
        each = rng.randint(1, group.channels // group.step - 1) if group.protected is None else 0
        members = [[c for c, block in enumerate(blocks) if block == b] for b in sorted(set(blocks))]
        removed[name] = tuple(c for block in members for c in rng.sample(block, each))
    return fl.Plan({name: group.channels for name, group in graph.items()}, removed)


def free(graph: fl.ChannelGraph) -> list[str]:
    return [name for name, group in graph.items() if group.protected is None]


@contextmanager
def counted_macs(model: nn.Module, batch: int) -> Iterator[list[int]]:
    """Count the MACs of the layers that run, from the shapes of their weights and results."""
    macs: list[int] = []

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if isinstance(module, nn.MultiheadAttention):
            made = module.out_proj.weight.shape[0]
            read = sum(tensor.numel() for tensor in inputs[:3])  # query, key, value
            macs.append(read * module.embed_dim + inputs[0].numel() * made)
        elif isinstance(module, nn.Linear):
            macs.append(output.numel() * module.weight.shape[1])
        elif isinstance(module, nn.modules.conv._ConvTransposeNd):
            macs.append(inputs[0].numel() * module.weight[0].numel())
        elif isinstance(module, nn.modules.conv._ConvNd):
            macs.append(output.numel() * module.weight[0].numel())

    handles = [module.register_forward_hook(count) for module in model.modules()]
    counts: list[int] = []
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()
        counts.append(sum(macs) // batch)


def check_cost(graph: fl.ChannelGraph, plan: fl.Plan, model: nn.Module, functional: bool = False) -> None:
    """Hold a graph's arithmetic against counting a model."""
    cost = graph.cost(plan)
    assert cost.params == sum(p.numel() for p in model.parameters())
    distinct = {t.data_ptr(): t for t in model.state_dict().values()}
    assert cost.bytes == sum(t.numel() * t.element_size() for t in distinct.values())
    if not functional:
        batch = len(next(tensors_in(graph.example_input)))
        with counted_macs(model, batch) as macs, torch.no_grad():
            call(model, graph.example_input)
        assert cost.macs == macs[0]


def snapshot(model: nn.Module) -> dict:
    """Return all that a model is: tensors by identity and value, modes, hooks, attributes."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {
        "tensors": {n: (id(t), t.requires_grad, t.dtype, t.detach().numpy().tobytes()) for n, t in tensors.items()},
        "grads": {n: p.grad is None for n, p in model.named_parameters()},
        "modules": {
            n: (m.training, sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for n, m in model.named_modules()
        },
    }


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def calibrate(model: nn.Module, example: object) -> None:
    """Set the running statistics of batch norms to those of an example, so that activations keep their size."""

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        norm.running_var.copy_(inputs[0].var((0, 2, 3), correction=0) + inputs[0].var() + 1e-3)

    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, torchvision.ops.FrozenBatchNorm2d))]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    with torch.no_grad():
        model(example)
    for handle in handles:
        handle.remove()


def difference(ours: object, theirs: object) -> float:
    """Return the largest difference of any output tensor, relative to its own largest value."""
    pairs = [(a, b) for a, b in zip(tensors_in(ours), tensors_in(theirs), strict=True) if b.numel()]
    assert pairs
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float((a.double() - b.double()).abs().max() / b.double().abs().max()) for a, b in pairs)


def pruned_as_simulated(graph: fl.ChannelGraph, seed: int) -> nn.Module:
    """Check a random plan: outputs and costs of the pruned network are those foretold. Return it."""
    model, x = graph.model, graph.example_input
    plan = random_plan(graph, seed)
    small = fl.prune(graph, plan)
    with torch.no_grad():
        with fl.simulate(graph, plan):
            simulated = model(x)
        assert difference(simulated, small(x)) <= 1e-4
        assert difference(model(x), small(x)) > 1e-2
    for network, chosen in ((model, None), (small, plan)):
        with counted_macs(network, len(x)) as macs, torch.no_grad():
            network(x)
        assert graph.cost(chosen).macs == macs[0]
        assert graph.cost(chosen).params == sum(p.numel() for p in network.parameters())
    return small


def check_same(ours: nn.Module, theirs: nn.Module, example: object) -> None:
    """Hold one network's tensors to another's bit by bit, its outputs to their rounding.

    The same weights lie elsewhere in memory, perhaps in another format, so that another kernel may run: it adds up in
    another order.
    """
    state, other = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(other)
    assert all(torch.equal(tensor, other[name]) for name, tensor in state.items())
    with torch.no_grad():
        assert difference(call(ours.eval(), example), call(theirs.eval(), example)) <= 1e-5

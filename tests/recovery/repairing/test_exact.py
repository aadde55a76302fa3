"""Where every removed channel is the copy of one that stays, the others can take over without any loss."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in
from tests.networks import NETWORKS, Network


def twins(graph: fl.ChannelGraph) -> dict[str, dict[int, int]]:
    """Return for each free group its pairs of channels within a block: who is to go, and whose copy it is."""
    found = {}
    for name, group in graph.items():
        if group.protected is not None:
            continue
        blocks = group.blocks or (0,) * group.channels
        members = [[c for c in range(group.channels) if blocks[c] == b] for b in sorted(set(blocks))]
        pairs = {}
        for block in members:
            pairs |= dict(zip(block[1::2], block[::2], strict=False))
        found[name] = pairs
    return found


@torch.no_grad()
def double(graph: fl.ChannelGraph, pairs: dict[str, dict[int, int]]) -> None:
    """Make each channel of a pair give what the other one gives."""
    copy_of = np.arange(sum(group.channels for group in graph.values()))
    for name, mine in pairs.items():
        start = graph.channels_of(name).start
        for copy, original in mine.items():
            copy_of[start + copy] = start + original
    modules = dict(graph.model.named_modules())
    tensors = {**dict(graph.model.named_parameters()), **dict(graph.model.named_buffers())}
    for layer in graph.layers:
        if layer.kind == "number":
            continue
        places: dict[int, list[int]] = {}  # a channel may be there several times
        for i, channel in enumerate(layer.outputs.tolist()):
            places.setdefault(channel, []).append(i)
        for i, channel in enumerate(layer.outputs.tolist()):
            if channel < 0 or copy_of[channel] == channel or copy_of[channel] not in places:
                continue
            j = places[copy_of[channel]][places[channel].index(i)]
            if layer.kind == "tensor":
                tensors[layer.name].select(layer.dim, i).copy_(tensors[layer.name].select(layer.dim, j))
                continue
            module = modules[layer.name]
            for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                if tensor.ndim == 0:
                    continue
                width = tensor.shape[1] if tensor.ndim > 1 else 1
                if key == "weight" and layer.kind == "conv_transpose" and layer.depthwise:
                    tensor[i // width, i % width] = tensor[j // width, j % width]
                elif key == "weight" and layer.kind == "conv_transpose":
                    per = tensor.reshape(layer.groups, -1, *tensor.shape[1:])
                    per[i // width, :, i % width] = per[j // width, :, j % width]
                elif tensor.shape[0] == len(layer.outputs):
                    tensor[i] = tensor[j]


def pictures(inputs: object, count: int, size: int = 80) -> list[object]:
    """Return batches like some inputs, with other numbers, and of so many examples."""
    generator = torch.Generator().manual_seed(7)

    def other(tensor: Tensor) -> Tensor:
        shape = (size, *tensor.shape[1:])
        if not tensor.is_floating_point():
            return torch.randint(0, 5, shape, generator=generator).to(tensor.dtype)
        return torch.randn(shape, generator=generator)

    return [tree_map_only(Tensor, other, inputs) for _ in range(count)]


def outputs(model: nn.Module, inputs: object) -> list[Tensor]:
    with torch.no_grad():
        return list(tensors_in(call(model.eval(), inputs)))


# What these compute over channels depends on how many there are, or on which is beside which; a filter that is
# standardised in each call is nobody's to refit.
OTHERWISE = {
    "reductions_of_all_kinds", "convolution_along_channels", "standardised_in_each_call", "attention_in_one_call",
}  # fmt: skip
EXACT = [n for n in NETWORKS if any(reason is None for reason in n.groups.values()) and n.name not in OTHERWISE]


def halved(network: Network) -> tuple[nn.Module, list[tuple[float, float]]]:
    """Return a network without its copies, repaired; how far each output is off, then how far it was as cut."""
    model = network.build()
    inputs = network.inputs()
    graph = fl.trace(model, inputs)
    pairs = twins(graph)
    assert any(pairs.values())
    double(graph, pairs)
    graph = fl.trace(model, inputs)
    plan = fl.Plan(
        {name: group.channels for name, group in graph.items()},
        {name: tuple(sorted(pairs.get(name, {}))) for name in graph},
    )
    batches = [(batch, None) for batch in pictures(inputs, 10)]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        small = fl.repair(graph, plan, batches, samples=800, ridge=0.0, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    test = pictures(inputs, 11)[-1]
    results = (outputs(network, test) for network in (small, model, fl.prune(graph, plan)))
    found = []
    for ours, whole, cut in zip(*results, strict=True):
        if whole.is_floating_point():
            scale = float(whole.abs().max())
            found.append(tuple(float((other - whole).abs().max()) / scale for other in (ours, cut)))
    return small, found


@pytest.mark.parametrize("network", EXACT, ids=lambda network: network.name)
def test_copies_are_taken_over(network: Network):
    small, found = halved(network)
    for apart, as_cut in found:
        assert apart < 2e-3, (apart, as_cut, fl.repair_report(small).to_string())


def test_what_follows_an_attention_makes_up_for_a_part():
    (network,) = (network for network in NETWORKS if network.name == "attention_in_one_call")
    _, ((apart, as_cut),) = halved(network)
    assert apart < as_cut

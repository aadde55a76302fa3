"""Operations over channels: simulated, cut, measured, repaired, exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from tests.checks import random_plan
from tests.networks import NETWORKS, Model, busy, conv, pooled
from tests.recovery.repairing.test_brought import error, pictures
from tests.surgery.test_brought import go_the_whole_way, timm_network


def traced(name: str) -> fl.ChannelGraph:
    (network,) = [network for network in NETWORKS if network.name == name]
    return fl.trace(network.build(), network.inputs())


class ByHand(nn.Module):
    """The layer norm of NAFNet: over the channels of pictures."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return self.weight.view(1, -1, 1, 1) * ((x - mean) / (variance + 1e-6).sqrt()) + self.bias.view(1, -1, 1, 1)


class Block(nn.Module):
    """A block as NAFNet has them: gates of two halves, attention to channels, a scale for each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ByHand(channels), ByHand(channels)
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, 2 * channels, 1),
            conv(2 * channels, 2 * channels, groups=2 * channels),
        )
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3, self.conv4 = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta, self.gamma = (nn.Parameter(torch.ones(1, channels, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(y * self.attention(y))
        return x + self.gamma * self.conv5(gate(self.conv4(self.norm2(x))))


def gate(x: Tensor) -> Tensor:
    one, two = x.chunk(2, dim=1)
    return one * two


def restorer() -> nn.Module:
    """Return a network from picture to picture."""
    torch.manual_seed(0)
    layers = {"head": conv(3, 12), "one": Block(12), "two": Block(12), "tail": conv(12, 3)}
    return busy(Model(lambda m, x: x + m.tail(m.two(m.one(m.head(x)))), layers)).eval()


def test_a_restorer_goes_the_whole_way(tmp_path: Path):
    graph, plan = go_the_whole_way(restorer(), torch.randn(1, 3, 16, 16), restorer, tmp_path)
    assert {name for name, group in graph.items() if group.protected} == {"tail"}
    assert min(len(gone) for name, gone in plan.removed.items() if graph[name].protected is None) > 0
    assert {reduction.place.module for reduction in graph.reductions} == {
        f"{block}.{norm}" for block in ("one", "two") for norm in ("norm1", "norm2")
    }
    small = fl.prune(graph, plan)
    report = fl.export_onnx(small, graph.example_input, tmp_path / "small.onnx", exporter="torchscript")
    assert report.max_rel_error <= 1e-3


def check_sweep(graph: fl.ChannelGraph, size: int) -> None:
    """Hold points of a sweep against really pruned networks."""
    shape = graph.example_input.shape[1:]
    data = TensorDataset(torch.randn(size, *shape, generator=torch.Generator().manual_seed(2)), torch.arange(size) % 5)
    task, scores = fl.tasks.Classification(data, data, classes=5), fl.score(graph, "random")
    frame = fl.sweep(graph, scores, task, ratios=(0.5,), max_samples=size, progress=False).frame
    losses = frame[(frame["metric"] == "loss") & (frame["ratio"] > 0)].set_index("group")["value"]
    assert set(losses.index) == {name for name, group in graph.items() if group.protected is None}
    for name, value in losses.items():
        small = fl.prune(graph, fl.Plan.from_ratios(graph, scores, {name: 0.5}))
        assert value == pytest.approx(fl.evaluate(small, task, max_samples=size)["loss"], rel=1e-4, abs=1e-4)


SWEPT = ["channels_first_norms", "gated_by_mean_and_maximum", "layers_over_tokens", "convolution_along_channels"]


@pytest.mark.parametrize("name", SWEPT)
def test_points_of_a_sweep_are_what_pruned_networks_give(name: str):
    check_sweep(traced(name), 6)


def test_a_part_of_the_network_is_simulated_as_in_the_whole():
    graph = traced("channels_first_norms")
    plan = random_plan(graph)
    stays = [c for c in range(8) if c not in plan.removed["conv"]]
    x = torch.randn(2, 8, 4, 4)
    with torch.no_grad(), fl.simulate(graph, plan) as model:
        part = model.norm(x)
    with torch.no_grad():
        assert torch.allclose(part[:, stays], fl.prune(graph, plan).norm(x[:, stays]), atol=1e-6)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in graph.model.modules())


def test_what_is_computed_outside_of_the_model_is_left_alone():
    graph = traced("softmax_over_channels")
    with fl.simulate(graph, random_plan(graph)):
        assert torch.equal(torch.ones(2, 8).softmax(1), torch.full((2, 8), 1 / 8))


def test_code_that_goes_another_way_is_told():
    graph = traced("divided_by_its_norm")
    graph.model.run = lambda m, x: m.fc(pooled(m.conv(x / x.norm(2, 1, keepdim=True))))
    with (
        fl.simulate(graph, random_plan(graph)) as model,
        pytest.raises(RuntimeError, match=r"'norm' runs over \(2, 3, 8, 8\), where tracing saw 8 channels"),
    ):
        model(graph.example_input)


@pytest.mark.slow
def test_convnext_v2(tmp_path: Path):
    model, x = timm_network("convnextv2_atto")
    graph, plan = go_the_whole_way(model, x, lambda: timm_network("convnextv2_atto")[0], tmp_path)
    assert [name for name, group in graph.items() if group.protected] == ["head.fc"]
    assert sum(reduction.place.operation == "mean" for reduction in graph.reductions) == 12
    batches = list(pictures(64, 3).split(32))
    small, cut = fl.repair(graph, plan, batches, samples=64, progress=False), fl.prune(graph, plan)
    repaired, as_cut = (error(network, model, pictures(32, 4)) for network in (small, cut))
    assert repaired < as_cut
    report = fl.export_onnx(small, x, tmp_path / "small.onnx", exporter="torchscript")
    assert report.max_rel_error <= 1e-3

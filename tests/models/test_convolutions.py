"""Efficient convolutions: formulas are counts, kernels are what the modules compute, and they prune like all else."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.models.convolutions import KINDS, ChannelShuffle, convolution, kernel_of, weights_of
from tests.checks import check_cost, check_same, random_plan
from tests.networks import Model, busy, conv, pooled

X = torch.randn(2, 16, 9, 11, generator=torch.Generator().manual_seed(0))


def chain(kind: str) -> nn.Module:
    """Return a network with two convolutions of a kind, one behind the other, and a residual sum."""
    own = {"groups": 2} if kind in ("grouped", "shuffled") else {}
    layers = {"stem": conv(3, 16), "one": convolution(kind, 16, 16, **own), "bn": nn.BatchNorm2d(16)}
    layers |= {"two": convolution(kind, 16, 24, stride=2, **own), "fc": nn.Linear(24, 5)}

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        x = m.stem(x).relu()
        return m.fc(pooled(m.two((x + m.bn(m.one(x))).relu()).relu()))

    return busy(Model(forward, layers)).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("inputs", "outputs", "size", "groups"), [(16, 32, 3, 4), (24, 12, 5, 2), (8, 16, 1, 2)])
def test_the_formula_is_the_count(kind: str, inputs: int, outputs: int, size: int, groups: int):
    options = {"groups": groups} if kind in ("grouped", "shuffled") else {}
    module = convolution(kind, inputs, outputs, size, bias=False, **options)
    cost = fl.trace(module, torch.randn(1, inputs, 10, 7)).cost()
    weights = weights_of(kind, inputs, outputs, size, groups)
    assert (cost.params, cost.macs) == (weights, 70 * weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "bias": False}, {"padding_mode": "reflect"}], ids=str)
def test_the_kernel_is_that_of_a_plain_convolution_that_gives_the_same(kind: str, options: dict):
    torch.manual_seed(0)
    module = busy(convolution(kind, 16, 24, 3, **options))
    inner = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    reach = inner.dilation[0]
    padded = F.pad(X, (reach,) * 4, mode="constant" if inner.padding_mode == "zeros" else inner.padding_mode)
    bias = module(torch.zeros(1, 16, 9, 9))[0, :, 2, 2]
    wanted = F.conv2d(padded, kernel_of(module), bias, inner.stride, 0, inner.dilation)
    torch.testing.assert_close(module(X), wanted, rtol=1e-4, atol=1e-5)
    assert module(X).shape[2:] == ((9, 11) if "stride" not in options else (5, 6))


@pytest.mark.parametrize("groups", [1, 2, 4, 16])
def test_the_shuffle_is_that_of_shufflenet(groups: int):
    wanted = torchvision.models.shufflenetv2.channel_shuffle(X, groups)
    assert torch.equal(ChannelShuffle(groups)(X), wanted)
    assert torch.equal(ChannelShuffle(groups)(X), nn.ChannelShuffle(groups)(X))


def test_a_shuffle_lets_every_output_read_every_input():
    def reached(between: nn.Module) -> int:
        one, two = convolution("grouped", 16, 16, 1), convolution("grouped", 16, 16, 1)
        x = torch.randn(1, 16, 1, 1, requires_grad=True)
        (gradient,) = torch.autograd.grad(two(between(one(x)))[0, 0, 0, 0], x)
        return int((gradient != 0).sum())

    assert (reached(nn.Identity()), reached(ChannelShuffle(4))) == (4, 16)


@pytest.mark.parametrize("groups", [0, 3, 5])
def test_groups_that_do_not_divide_are_named(groups: int):
    with pytest.raises(ValueError, match=f"16 in and 24 out; got {groups}"):
        convolution("shuffled", 16, 24, groups=groups)
    with pytest.raises(ValueError, match="must be one of 'plain', 'dilated'"):
        convolution("seperable", 16, 24)
    with pytest.raises(ValueError, match="7 groups cannot share 16 channels alike"):
        ChannelShuffle(7)(X)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_one_is_what_was_simulated_saved_and_exported(kind: str, tmp_path: Path):
    model, example = chain(kind), torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    graph = fl.trace(model, example)
    assert [name for name, group in graph.items() if group.protected] == ["fc"]
    for seed in range(3):
        plan = random_plan(graph, seed)
        assert fl.agreement(graph, plan) <= 1e-5
        small = fl.prune(graph, plan)
        check_cost(graph, plan, small)
    fl.save(small, tmp_path / "small.safetensors")
    check_same(fl.load(tmp_path / "small.safetensors", model=chain(kind)), small, example)
    fl.export_onnx(small, example, tmp_path / "small.onnx", exporter="torchscript")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    torch.testing.assert_close(torch.from_numpy(given), small(example).detach(), rtol=1e-4, atol=1e-5)


def test_groups_ask_for_as_many_from_each_and_a_shuffle_ties_channels_across_them():
    stems = {kind: fl.trace(chain(kind), torch.randn(1, 3, 12, 12))["stem"] for kind in KINDS}
    found = {kind: (stem.channels, stem.step) for kind, stem in stems.items()}
    alone = (16, 1)
    assert found == {
        **dict.fromkeys(("plain", "dilated", "depthwise_separable"), alone),
        **{"grouped": (16, 2), "shuffled": (8, 2)},  # each of two channels: four at a time
    }

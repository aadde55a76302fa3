"""Answers from memory are those of running everything, whatever the model does in place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in
from fpgmlab.sensitivity import ReplayError, replaying
from fpgmlab.sensitivity.replay.points import changed_by
from tests.networks import NETWORKS, Network


def check(graph: fl.ChannelGraph, inputs: object) -> int:
    """Compare each free group's replay with a full run; return how many calls were answered from memory."""
    plans = {
        name: fl.Plan.from_ratios(graph, fl.score(graph, "random"), {name: 0.5})
        for name, group in graph.items()
        if group.protected is None
    }
    expected, answered = {}, 0
    with torch.no_grad():
        for name, plan in plans.items():
            with fl.simulate(graph, plan) as model:
                expected[name] = list(tensors_in(call(model, tree_map_only(Tensor, Tensor.clone, inputs))))
        with replaying(graph.model) as replay:
            replay.record(inputs)
            for name, plan in plans.items():
                with fl.simulate(graph, plan):
                    for _ in range(2):  # the second would see what the first has spoilt
                        found = list(tensors_in(replay.run(changed_by(graph, name))))
                answered += len(replay._handed)
                for a, b in zip(found, expected[name], strict=True):
                    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)
    return answered


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_kind_of_connection(network: Network):
    model, inputs = network.build(), network.inputs()
    check(fl.trace(model, inputs), inputs)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("googlenet", "convnext_tiny")]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", *SLOW])
def test_real_networks_answer_most_from_memory(name: str):
    import torchvision

    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **options).eval()
    assert check(fl.trace(model, torch.randn(1, 3, 64, 64)), torch.randn(2, 3, 64, 64)) > 20


class Overwrites(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.second, self.third = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x *= 2  # even its input
        x = self.first(x)
        y = self.second(x)
        x += y  # overwrites what first gave
        y.mul_(0.5)
        return self.last(x + self.third(y))


def test_overwritten_outputs_are_noticed_and_the_input_is_left_alone():
    torch.manual_seed(0)
    model = Overwrites().eval()
    graph, inputs = fl.trace(model, torch.randn(1, 3, 8, 8)), torch.randn(2, 3, 8, 8)
    before = inputs.clone()
    assert check(graph, inputs) > 0
    assert torch.equal(inputs, before)


def test_the_model_is_as_before_also_after_an_error():
    model = Overwrites().eval()
    plain = {name: vars(module).copy() for name, module in model.named_modules()}
    with pytest.raises(ZeroDivisionError), replaying(model):
        _ = 1 / 0
    assert all("forward" not in vars(module) for module in model.modules())
    assert {name: vars(module) for name, module in model.named_modules()} == plain


def test_a_patched_forward_comes_back():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    model[0].forward = own = lambda x: x * 3
    with torch.no_grad(), replaying(model) as replay:
        assert float(replay.record(torch.ones(1))) == 3
    assert model[0].forward is own


class Fickle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.extra, self.last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return self.last(self.extra(x) if float(x.detach().sum()) > 0 else x)


def test_control_flow_that_depends_on_values_is_named():
    model = Fickle().eval()
    with torch.no_grad(), replaying(model) as replay:
        model.layer.weight.zero_()
        model.layer.bias.fill_(-1)
        replay.record(torch.ones(1, 2))
        model.layer.bias.fill_(1)
        with pytest.raises(ReplayError, match="Fickle called 'extra' 1 times, more often than when recorded"):
            replay.run(["layer"])

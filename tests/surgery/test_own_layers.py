"""Layers of a user's own class, told by rules: cut, counted, scored, swept, repaired, trained, saved as any other."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.widgets.explorer.scene import filter_scene
from tests.own_layers import RULES, Hidden, KernelLast, LowRank, OwnLayers, Slope
from tests.whole_way import apart, outputs_of


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    torch.manual_seed(0)
    model = OwnLayers()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
    return fl.trace(model.eval(), torch.randn(2, 1, 28, 28), layers=RULES)


@pytest.fixture(scope="module")
def pictures() -> fl.tasks.Classification:
    return fl.tasks.fashion_mnist(holdout=5000).subset(train=256, val=64)


def test_without_rules_nothing_of_them_is_cut_and_it_says_what_would_free_them(graph):
    blind = fl.trace(graph.model, graph.example_input)
    assert all(group.protected for group in blind.values())
    assert "fpgmlab.LayerRule" in blind["first"].remedy
    assert [name for name, group in graph.items() if group.protected is None] == ["conv", "first", "low", "hidden"]
    assert graph["conv"].producers == ("conv", "second")
    assert graph["conv"].consumers == ("first", "low")
    assert graph["first"].channelwise == ("slope",)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), ratio=st.floats(0.05, 0.9))
def test_simulation_surgery_and_costs_are_one(graph, seed, ratio):
    plan = fl.Plan.uniform(graph, fl.score(graph, "random", seed=seed), ratio, multiple=1)
    small = fl.prune(graph, plan)
    with fl.simulate(graph, plan):
        simulated = outputs_of(graph.model, graph.example_input)
    assert apart(simulated, outputs_of(small, graph.example_input)) < 1e-5
    cost = graph.cost(plan)
    assert cost.params == sum(parameter.numel() for parameter in small.parameters())
    again = fl.trace(small, graph.example_input, layers=RULES)
    assert again.cost() == cost
    assert small.first.width == small.first.kernel.shape[3] == plan.kept["first"]


def test_macs_are_those_of_the_same_network_of_torchs_layers():
    ours = fl.trace(nn.Sequential(KernelLast(4, 6), nn.ReLU(), KernelLast(6, 3)), torch.randn(1, 4, 9, 9), layers=RULES)
    convs = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1))
    theirs = fl.trace(convs, torch.randn(1, 4, 9, 9))
    assert ours.cost() == theirs.cost()


def test_of_what_is_applied_at_each_input_macs_are_counted_there():
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(6, 4, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv_transpose2d(x, self.kernel * 2, stride=2)

    net = nn.Sequential(nn.Conv2d(3, 6, 1), Up(), nn.Conv2d(4, 2, 1))
    rule = fl.LayerRule({"kernel": ("in", "out", None, None)}, applied="input")
    graph = fl.trace(net, torch.randn(1, 3, 5, 5), layers={Up: rule})
    assert graph.cost().macs == 25 * 18 + 25 * 6 * 4 * 4 + 100 * 8


def test_filters_are_scored_in_their_own_layout(graph):
    kernel = graph.model.first.kernel.detach().double()
    expected = kernel.permute(3, 2, 0, 1).flatten(1).norm(dim=1)
    assert torch.allclose(fl.score(graph, "l2", groups=["first"])["first"], expected)
    theirs = torch.cdist(*2 * [kernel.permute(3, 2, 0, 1).flatten(1)]).sum(1)
    assert torch.allclose(fl.score(graph, "fpgm", groups=["first"])["first"], theirs)


def test_swept_points_are_what_cut_networks_lose(graph, pictures):
    scores = fl.score(graph, "fpgm")
    curves = fl.sweep(graph, scores, pictures, ratios=[0.5], metrics=["loss"], multiple=1, progress=False)
    swept = curves.frame.query("ratio > 0").set_index("group")["value"]
    for name in ("conv", "first", "low", "hidden"):
        small = fl.prune(graph, fl.Plan.from_ratios(graph, scores, {name: 0.5}, multiple=1))
        assert swept[name] == pytest.approx(fl.evaluate(small, pictures)["loss"], rel=1e-4)


def test_repair_refits_the_layers_around_them(graph, pictures):
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.4, multiple=1)
    cut, mended = fl.prune(graph, plan), fl.repair(graph, plan, pictures, progress=False)
    inputs = next(iter(pictures.val_batches(64)))[0]
    wanted, before, after = (outputs_of(each, inputs)[0] for each in (graph.model, cut, mended))
    assert (after - wanted).square().mean() < 0.9 * (before - wanted).square().mean()
    assert torch.equal(mended.first.kernel, cut.first.kernel)  # of these repair knows no equations
    curves = fl.sweep(graph, fl.score(graph, "fpgm"), pictures, ratios=[0.5], repair=True, progress=False)
    assert np.isfinite(curves.frame["value"]).all()


def test_they_are_trained_with_extras_pruned_gradually_and_saved(graph, pictures, tmp_path: Path):
    lasso, soft = fl.GroupLasso(graph, 1e-4), fl.SoftPruning(graph, ratio=0.3)
    fresh = fl.trace(fl.common.holdings.copy_of(graph.model), graph.example_input, layers=RULES)
    fl.fit(fresh.model, pictures, 1, lr=0.01, extras=[lasso, soft], progress=False)
    small, history = fl.prune_gradually(
        graph.model, pictures, target=0.6, steps=2, multiple=1, layers=RULES, max_samples=64, progress=False
    )
    assert history["macs"].iloc[-1] <= 0.6
    fl.save(small, tmp_path / "small.safetensors")
    loaded = fl.load(tmp_path / "small.safetensors", model=OwnLayers())
    assert apart(outputs_of(small, graph.example_input), outputs_of(loaded, graph.example_input)) == 0
    assert loaded.first.width == small.first.kernel.shape[3]


@pytest.mark.parametrize("largest", range(4))
def test_a_rule_that_does_not_say_what_the_layer_does_protects_what_it_touches(largest):
    class Scaled(KernelLast):
        def forward(self, x: Tensor) -> Tensor:  # by the largest weight of all, also of channels that go
            return F.conv2d(x, (self.kernel / self.kernel.abs().amax()).permute(3, 2, 0, 1), self.bias, padding=1)

    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), Scaled(16, 16), nn.Conv2d(16, 4, 3))
    net[1].kernel.data[0, 0, 0, largest] = 9.0
    graph = fl.trace(net.eval(), torch.randn(1, 3, 9, 9), layers={Scaled: RULES[KernelLast]})
    assert "answers otherwise" in (graph["1"].protected or "")


@pytest.mark.parametrize(
    ("rules", "error", "words"),
    [
        ({KernelLast: fl.LayerRule({"weight": ("out", "in")})}, ValueError, "names 'weight'; its parameters"),
        ({KernelLast: fl.LayerRule({"kernel": ("in", "out")})}, ValueError, "has 4 dimensions"),
        ({KernelLast: fl.LayerRule({"kernel": (None, None, "out", "in")})}, ValueError, "dimension 2 of 'kernel'"),
        ({KernelLast: fl.LayerRule({"kernel": (None, None, "in", "out")}, inputs=5)}, ValueError, "along dimension 5"),
        ({KernelLast: fl.LayerRule({"kernel": (None, None, "in", "out")}, attributes={"depth": "in"})}, ValueError,
         "names the attribute 'depth'"),
        ({KernelLast: fl.LayerRule({"kernel": (None, None, "in", "out")}, attributes={"width": "in"})}, ValueError,
         "its attribute 'width', 20"),
        ({"first": RULES[KernelLast]}, TypeError, "no such class"),
        ({KernelLast: {"kernel": ("in",)}}, TypeError, "must be an fpgmlab.LayerRule"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_the_layer(graph, rules, error, words):
    with pytest.raises(error, match=words):
        fl.trace(graph.model, graph.example_input, layers=RULES | rules if "first" not in rules else rules)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tensors": {"w": ("rows", "in")}}, "must be one of 'in', 'out', 'each'"),
        ({"tensors": {"w": ("in", "in")}}, "several dimensions of one kind"),
        ({"tensors": {"w": "in"}}, "a word or None for each dimension"),
        ({"tensors": {"w": ("out", None)}}, "only 'out' channels are named"),
        ({"tensors": {"w": ("each", "in")}}, "'each' channel something by itself, or makes"),
        ({"tensors": {"w": ("out",)}, "attributes": {"n": "in"}}, "no tensor has 'in' channels"),
        ({"tensors": {"w": ("out", "in")}, "applied": "kernel"}, "applied must be one of"),
        ({"tensors": [("w", "in")]}, "tensors must map"),
    ],
)
def test_a_rule_that_is_none_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        fl.LayerRule(**options)


def test_a_weight_that_two_layers_share_stays():
    net = nn.Sequential(Hidden(8, 8), nn.ReLU(), Hidden(8, 8), nn.Linear(8, 3))
    net[2].matrix = net[0].matrix
    graph = fl.trace(net, torch.randn(2, 8), layers=RULES)
    assert all("another layer's too" in graph[name].protected for name in graph if name != "3")


def test_tensors_beside_the_first_are_protected_and_a_layer_used_twice_is_one():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.low, self.out = nn.Linear(4, 6), nn.Linear(4, 6), LowRank(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.low(self.low(self.a(x))) + self.b(x))

    graph = fl.trace(Two().eval(), torch.randn(3, 4), layers=RULES)
    assert list(graph) == ["a", "out"]  # all that it takes and gives is one group
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)
    assert fl.agreement(graph, plan) < 1e-5
    assert graph.cost(plan).params == sum(p.numel() for p in fl.prune(graph, plan).parameters())


def test_graphs_with_rules_travel(graph):
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert other.cost() == graph.cost()
        assert other.rules == RULES


def test_explorer_shows_the_filters_of_a_kernel_in_its_own_layout(graph):
    scene = filter_scene(graph, "first")
    assert scene.shape == (12, 3, 3)
    assert len(scene.pictures) == 20
    assert filter_scene(graph, "hidden").shape == (24,)


def test_torch_prunings_opinion_is_asked_where_it_knows_the_layer(graph):
    table = fl.crosscheck(graph).set_index("group")
    assert table.loc["first", "only_here"] == "first:out, second:in"
    assert not table["same"].any()


def test_parts_of_a_layer_are_not_layers_of_their_own(graph):
    assert not any(layer.name == "low.base" for layer in graph.layers)
    assert graph.training_only == ()
    assert isinstance(graph.model.slope, Slope)

"""Group lasso and soft pruning: whose weights they are, closed forms, and that pruning the zeros changes nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.models.resnet import ResNet
from fpgmlab.recovery.extras.channels import free_channels, slices_of, sums_by_channel
from fpgmlab.recovery.extras.group_lasso import shrink
from tests.networks import NETWORKS, busy

QUIET = {"progress": False, "batch_size": 32}
FREE = [net for net in NETWORKS if None in net.groups.values()]
QUICK = {
    "residual",
    "concatenation",
    "depthwise_with_multiplier",
    "grouped",
    "transposed_grouped",
    "shuffle",
    "flatten",
}


def by_name(quick: set[str]) -> list:
    return [pytest.param(n, id=n.name, marks=[] if n.name in quick else pytest.mark.slow) for n in FREE]


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return busy(ResNet(8, classes=3, channels=1, width=0.5))


def squares(model: nn.Module) -> float:
    return sum(float(p.detach().double().square().sum()) for p in model.parameters())


def outputs_of(model: nn.Module, inputs: object) -> list[Tensor]:
    from fpgmlab.common.calling import call
    from fpgmlab.common.modules import eval_mode, tensors_in

    with torch.no_grad(), eval_mode(model):
        return list(tensors_in(call(model, inputs)))


# Whose weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", by_name(QUICK))
def test_what_makes_and_reads_a_channel_is_what_pruning_takes_away(network):
    model = network.build()
    graph = fl.trace(model, network.inputs())
    plan = fl.Plan.uniform(graph, fl.score(graph, "random"), 0.5, multiple=1)
    pruned = fl.prune(graph, plan)
    gone = torch.cat([torch.from_numpy(~graph.keep(plan)), torch.tensor([False])])
    for side in ("makers", "readers"):
        for one in slices_of(graph, side):
            before = one.squares()
            one.scale(torch.where(gone[one.channels], 0.5, 1.0))
            torch.testing.assert_close(one.squares(), torch.where(gone[one.channels], 0.25, 1.0) * before)
            one.scale(torch.where(gone[one.channels], 0.0, 1.0))
    assert squares(model) == pytest.approx(squares(pruned), rel=1e-6)


# Group lasso ---------------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.last, self.fc = (
            nn.Conv2d(1, 5, 3),
            nn.BatchNorm2d(5),
            nn.Conv2d(5, 4, 1),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.last(F.relu(self.bn(self.conv(x))))).mean((2, 3)))


def vectors(model: Plain, side: str) -> dict[str, list[list[Tensor]]]:
    """Return the weights of each channel, written down by hand."""
    if side == "makers":
        return {
            "conv": [
                [model.conv.weight[c], model.conv.bias[c], model.bn.weight[c], model.bn.bias[c]] for c in range(5)
            ],
            "last": [[model.last.weight[c], model.last.bias[c]] for c in range(4)],
        }
    return {
        "conv": [[model.last.weight[:, c]] for c in range(5)],
        "last": [[model.fc.weight[:, c]] for c in range(4)],
    }


def numbers(parts: list[Tensor]) -> np.ndarray:
    return np.concatenate([part.detach().double().numpy().ravel() for part in parts])


@pytest.mark.parametrize("side", ["makers", "readers"])
def test_the_step_is_the_proximal_operator(side: str):
    model = busy(Plain())
    graph = fl.trace(model, torch.randn(2, 1, 8, 8))
    before = {name: [numbers(parts) for parts in found] for name, found in vectors(model, side).items()}
    norms = [float(np.linalg.norm(vector)) for found in before.values() for vector in found]
    threshold = float(np.median(norms))
    rest = squares(model) - sum(norm**2 for norm in norms)
    shrink(slices_of(graph, side), free_channels(graph), threshold)
    after = vectors(model, side)
    for name, found in before.items():
        for vector, parts in zip(found, after[name], strict=True):
            wanted = vector * max(0.0, 1 - threshold / np.linalg.norm(vector))
            np.testing.assert_allclose(numbers(parts), wanted, rtol=1e-5, atol=1e-6)
    left = sum(float((numbers(parts) ** 2).sum()) for found in after.values() for parts in found)
    assert squares(model) - left == pytest.approx(rest, rel=1e-6), "nothing else is touched"
    whole = sums_by_channel(slices_of(graph, side), len(free_channels(graph)))
    assert (whole == 0).sum() >= len(norms) // 2


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_comes_to_rest_at_the_minimum_of_loss_and_penalty(momentum: float):
    """For the loss (w - a)^2 / 2 that is the soft threshold of a (Yuan & Lin, 2006, eq. 2.5)."""
    model = busy(Plain())
    graph = fl.trace(model, torch.randn(2, 1, 8, 8))
    goal = {name: p.detach().clone() for name, p in model.named_parameters()}
    found = [vector for vectors_of in vectors(model, "makers").values() for vector in vectors_of]
    norms = [float(np.linalg.norm(numbers(vector))) for vector in found]
    strength = 1.05 * float(np.median(norms))  # half of the channels come to nothing
    wanted = [numbers(v) * max(0.0, 1 - strength / n) for v, n in zip(found, norms, strict=True)]
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=momentum)
    running = fl.GroupLasso(graph, strength, "constant", clean=0.0).begin(model, None, 1, 600)
    running.optimized_by(optimizer)
    for step in range(1, 601):
        optimizer.zero_grad()
        sum((p - goal[name]).square().sum() / 2 for name, p in model.named_parameters()).backward()
        running.before_step(model, step, 600)
        optimizer.step()
        running.after_step(model, step, 600)
    now = [vector for vectors_of in vectors(model, "makers").values() for vector in vectors_of]
    for vector, expected in zip(now, wanted, strict=True):
        np.testing.assert_allclose(numbers(vector), expected, atol=2e-3)
        assert (np.abs(numbers(vector)).max() == 0) == (np.abs(expected).max() == 0)


@pytest.mark.parametrize("side", ["makers", "readers"])
def test_pruning_the_channels_that_became_zero_changes_nothing(task: fl.tasks.Classification, side: str):
    model = ResNet(8, classes=3, channels=1, width=0.5)
    graph = fl.trace(model, task.example_input)
    extras = [fl.GroupLasso(graph, 0.3, side=side), *([fl.EMA(0.5)] if side == "makers" else [])]
    fl.fit(model, task, 4, extras=extras, keep="last", **QUIET)
    plan = fl.plan_of_zeros(graph)
    assert sum(map(len, plan.removed.values())) > 5
    inputs = next(iter(task.val_batches(32)))[0]
    whole, cut = outputs_of(model, inputs)[0], outputs_of(fl.prune(graph, plan), inputs)[0]
    torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-5)


def test_the_last_steps_are_clean_and_protected_groups_left_alone(task: fl.tasks.Classification):
    extra = fl.GroupLasso(fl.trace(small_net(), task.example_input), 0.5, "cosine", clean=0.25)
    strengths = [extra.strength_at(step, 100) for step in range(1, 101)]
    assert (strengths[0], strengths[75:]) == (0.5, [0] * 25)
    model = small_net()
    graph = fl.trace(model, task.example_input, protect=["layer1", "layer2"])
    before = copy.deepcopy(model.state_dict())
    shrink(slices_of(graph, "makers"), free_channels(graph), 1e9)
    same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert "fc.weight" in same
    assert {name for name, _ in model.named_parameters() if name.startswith(("conv1", "layer1", "layer2"))} <= same
    assert not any(model.layer3[0].conv1.weight.detach().flatten().tolist())


# Soft pruning --------------------------------------------------------------------------------------------------------


def test_what_is_kept_gives_what_the_pruned_network_gives(task: fl.tasks.Classification):
    model = small_net()
    graph = fl.trace(model, task.example_input)
    ranked, grown = [], []

    def judged(row: dict) -> None:
        ranked.append({name: tuple(gone) for name, gone in fl.plan_of_zeros(graph).removed.items()})

    def stepped(row: dict) -> None:
        if row["step"] == 8:  # the first of the second epoch
            grown.append(sum(map(len, fl.plan_of_zeros(graph).removed.values())))

    extra = fl.SoftPruning(graph, 0.5)
    history = fl.fit(model, task, 3, extras=[extra], on_epoch=judged, on_step=stepped, **QUIET)
    plan = fl.plan_of_zeros(graph)
    assert plan.removed == ranked[history.attrs["kept"] - 1]
    wanted = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.5)
    assert [set(plan.kept.items()), grown] == [set(wanted.kept.items()), [0]]
    inputs = next(iter(task.val_batches(90)))[0]
    pruned = fl.prune(graph, plan)
    torch.testing.assert_close(outputs_of(pruned, inputs)[0], outputs_of(model, inputs)[0], rtol=1e-5, atol=1e-5)
    assert fl.evaluate(pruned, task)["loss"] == pytest.approx(history["loss"][history.attrs["kept"] - 1], rel=1e-4)


@pytest.mark.parametrize("network", by_name({"residual", "concatenation", "grouped", "transposed_grouped", "flatten"}))
def test_zeros_are_where_layers_read_and_found_again(network):
    model, inputs = network.build(), network.inputs()
    graph = fl.trace(model, inputs)
    plan = fl.Plan.uniform(graph, fl.score(graph, "random"), 0.5, multiple=1)
    options = {"plan": plan, "criterion": fl.criteria.Random(0)}
    if any(not graph.keep(plan)[one.channels].all() for one in graph.reductions):
        with pytest.raises(ValueError, match="runs over the channels of group"):
            fl.SoftPruning(graph, **options)
        return
    extra = fl.SoftPruning(graph, **options)
    extra.begin(model, None, 1, 1).before_judging(model, model)
    found = fl.plan_of_zeros(graph)
    assert {name: set(gone) >= set(plan.removed[name]) for name, gone in found.removed.items()}
    assert found.removed == plan.removed
    for mine, other in zip(outputs_of(fl.prune(graph, found), inputs), outputs_of(model, inputs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_channels_are_ranked_by_the_weights_as_they_are(task: fl.tasks.Classification):
    model = small_net()
    graph = fl.trace(model, task.example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.25, multiple=1)
    seen: list[tuple[dict, dict]] = []

    class Look(fl.Extra):
        def before_judging(self, model: nn.Module, judged: nn.Module) -> None:
            scores = fl.score(graph, "l2")
            seen.append((fl.Plan.from_ratios(graph, scores, plan.ratios).removed, {}))

    extra = fl.SoftPruning(graph, plan=plan, criterion="l2", every=2)
    zeroed: list[dict] = []
    fl.fit(
        model,
        task,
        4,
        extras=[Look(), extra],
        on_epoch=lambda row: zeroed.append(fl.plan_of_zeros(graph).removed),
        **QUIET,
    )
    ranked = [look for look, _ in seen]
    assert zeroed == [ranked[0], ranked[0], ranked[2], ranked[3]], "every second epoch, and at the last one"


def test_a_copy_is_pruned_softly_and_its_average_too(task: fl.tasks.Classification):
    model = small_net()
    graph = fl.trace(model, task.example_input)
    state = copy.deepcopy(model.state_dict())
    trained = copy.deepcopy(model)
    extras = [fl.SoftPruning(graph, 0.5), fl.EMA(0.8), fl.Distill(model, kind="features"), fl.EarlyStop(2)]
    fl.fit(trained, task, 3, extras=extras, **QUIET)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    other = fl.trace(trained, task.example_input)
    plan = fl.plan_of_zeros(other)
    assert set(plan.kept.values()) == set(fl.Plan.uniform(graph, fl.score(graph), 0.5).kept.values())
    inputs = next(iter(task.val_batches(32)))[0]
    cut, whole = outputs_of(fl.prune(other, plan), inputs)[0], outputs_of(trained, inputs)[0]
    torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-5)


def test_soft_pruning_goes_on_from_its_state(task: fl.tasks.Classification):
    model = small_net()
    graph = fl.trace(model, task.example_input)
    options = fl.SoftPruning(graph, 0.5, every=2)
    first = options.begin(model, task, 4, 4)
    first.before_judging(model, model)
    state = copy.deepcopy(first.state_dict())
    busy(model)  # other weights, which are not ranked in the second epoch
    twin = copy.deepcopy(model)
    second = options.begin(twin, task, 4, 4)
    second.load_state_dict(state)
    for running, network in ((first, model), (second, twin)):
        running.before_judging(network, network)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True))
    assert fl.plan_of_zeros(graph).removed == {
        name: tuple(state["removed"].get(name, ())) for name in fl.plan_of_zeros(graph).removed
    }


# Zeros ---------------------------------------------------------------------------------------------------------------


def test_zeros_that_cannot_go_stay():
    model = small_net()
    inputs = torch.randn(2, 1, 8, 8)
    graph = fl.trace(model, inputs)
    assert not any(fl.plan_of_zeros(graph).removed.values())
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    plan = fl.plan_of_zeros(graph)
    assert all(plan.kept[name] == (1 if group.protected is None else group.channels) for name, group in graph.items())
    fl.prune(graph, plan)


def test_a_filter_of_zeros_alone_is_no_zero_channel():
    model = busy(Plain())
    inputs = torch.randn(2, 1, 8, 8)
    graph = fl.trace(model, inputs)
    with torch.no_grad():
        model.conv.weight[1] = model.conv.bias[1] = model.last.weight[2] = model.last.bias[2] = 0
    assert fl.plan_of_zeros(graph).removed == {"conv": (), "last": (2,), "fc": ()}, "its batch norm's shift flows on"
    with torch.no_grad():
        model.bn.weight[1] = model.bn.bias[1] = 0
    plan = fl.plan_of_zeros(graph)
    assert plan.removed == {"conv": (1,), "last": (2,), "fc": ()}
    torch.testing.assert_close(outputs_of(fl.prune(graph, plan), inputs), outputs_of(model, inputs))


def test_a_norm_without_scales_shifts_a_zero():
    model = busy(Plain())
    model.bn = nn.BatchNorm2d(5, affine=False)
    model.bn.running_mean.uniform_(0.5, 1)
    graph = fl.trace(model, torch.randn(2, 1, 8, 8))
    with torch.no_grad():
        model.conv.weight[1] = model.conv.bias[1] = 0
    assert not fl.plan_of_zeros(graph).removed["conv"]


# What does not fit ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_graph() -> fl.ChannelGraph:
    return fl.trace(ResNet(8, classes=3, channels=1, width=0.25), torch.randn(2, 1, 8, 8))


@pytest.mark.parametrize("make", [lambda graph: fl.GroupLasso(graph), lambda graph: fl.SoftPruning(graph, 0.5)])
def test_a_graph_of_another_network_is_told(task: fl.tasks.Classification, other_graph: fl.ChannelGraph, make):
    words = r"of another network .*: 'conv1.weight' has \(4, 1, 3, 3\) in the graph's, here \(8, 1, 3, 3\)"
    with pytest.raises(ValueError, match=words):
        fl.fit(small_net(), task, extras=[make(other_graph)], **QUIET)
    with pytest.raises(ValueError, match="here no such tensor"):
        fl.fit(fl.models.build("vgg16", classes=3, channels=1, width=0.1), task, extras=[make(other_graph)], **QUIET)


def test_a_norm_over_channels_that_would_go_is_told():
    (network,) = [net for net in NETWORKS if net.name == "layer_norm"]
    graph = fl.trace(network.build(), network.inputs())
    with pytest.raises(
        ValueError,
        match=r"'layer_norm' in 'norm' runs over the channels of group .*a plan that leaves that group whole",
    ):
        fl.SoftPruning(graph, 0.5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda graph: fl.SoftPruning(graph), "give either a ratio or a plan; got ratio=None, plan=None"),
        (
            lambda graph: fl.SoftPruning(graph, 0.5, fl.plan_of_zeros(graph)),
            "give either a ratio or a plan; got ratio=0.5",
        ),
        (lambda graph: fl.SoftPruning(graph, 1.5), "ratio must be .*; got 1.5"),
        (lambda graph: fl.SoftPruning(graph, 0.5, every=0), "every must be at least 1 epoch; got 0"),
        (lambda graph: fl.SoftPruning(graph, 0.5, criterion="fpmg"), "unknown criterion 'fpmg': did you mean 'fpgm'"),
        (lambda graph: fl.SoftPruning(graph, plan=fl.Plan({"x": 4}, {})), "the plan was made for another network"),
        (lambda graph: fl.GroupLasso(graph, -1), "strength must be a number >= 0; got -1"),
        (lambda graph: fl.GroupLasso(graph, schedule="step"), "schedule must be one of .*; not 'step'"),
        (lambda graph: fl.GroupLasso(graph, clean=2), "clean must be a share of the steps, 0 to 1; got 2"),
        (lambda graph: fl.GroupLasso(graph, side="both"), "side must be one of 'makers', 'readers'; not 'both'"),
    ],
)
def test_options_out_of_range_are_named(other_graph: fl.ChannelGraph, make, words: str):
    with pytest.raises(ValueError, match=words):
        make(other_graph)


def test_they_can_be_read(other_graph: fl.ChannelGraph):
    assert repr(fl.SoftPruning(other_graph, 0.5)) == ("SoftPruning(graph=ResNet, ratio=0.5, criterion='fpgm', every=1)")
    assert repr(fl.GroupLasso(other_graph)) == (
        "GroupLasso(graph=ResNet, strength=0.001, schedule='constant', clean=0.2, side='makers')"
    )

"""Surgery on the shipped network: cutting against simulating, and what must not change."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.graph.building import build_graph
from tests.checks import check_cost, check_same, random_plan, snapshot
from tests.networks import NETWORKS, Model, busy, conv, pooled


@pytest.fixture(scope="module")
def images(fashion: fl.tasks.Classification) -> Tensor:
    return next(fashion.val_batches(4))[0]


@pytest.fixture(scope="module")
def shipped(fashion: fl.tasks.Classification) -> fl.ChannelGraph:
    """One graph for the whole file: nothing here may change it."""
    return fl.trace(fl.models.load("resnet20-fashion"), fashion.example_input)


def empty(graph: fl.ChannelGraph) -> fl.Plan:
    return fl.Plan({name: group.channels for name, group in graph.items()}, {})


def tensors_of(model: nn.Module) -> dict[str, tuple[int, bytes]]:
    """Return which tensors a model holds, and their bytes."""
    held = {}
    for path, module in model.named_modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                held[f"{path}.{key}"] = (id(tensor), tensor.detach().numpy().tobytes())
    return held


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_simulating_is_cutting(shipped: fl.ChannelGraph, images: Tensor, data: st.DataObject):
    removed = {}
    for name, group in shipped.items():
        if group.protected is None:
            bits = data.draw(st.integers(0, 2**group.channels - 2), label=name)  # a bit for each channel, not all
            removed[name] = tuple(c for c in range(group.channels) if bits >> c & 1)
    plan = fl.Plan({name: group.channels for name, group in shipped.items()}, removed)
    small = fl.prune(shipped, plan)
    with torch.no_grad():
        cut = small(images)
        with fl.simulate(shipped, plan) as model:
            simulated = model(images)
    assert float((simulated - cut).abs().max()) <= 1e-4 * float(cut.abs().max())
    check_cost(shipped, plan, small)


def test_cut_weights_are_the_kept_ones(shipped: fl.ChannelGraph):
    plan = random_plan(shipped)
    small = fl.prune(shipped, plan)
    kept = {name: [c for c in range(w) if c not in plan.removed[name]] for name, w in plan.widths.items()}
    first, inner = shipped.model.layer1[0].conv1.weight, small.layer1[0].conv1.weight
    assert torch.equal(inner, first[kept["layer1.0.conv1"]][:, kept["conv1"]])
    assert torch.equal(small.bn1.running_var, shipped.model.bn1.running_var[kept["conv1"]])
    assert torch.equal(small.fc.weight, shipped.model.fc.weight[:, kept["layer3.0.conv2"]])
    assert (small.fc.in_features, small.fc.out_features) == (len(kept["layer3.0.conv2"]), 10)
    block = small.layer1[0]
    assert (block.conv1.in_channels, block.conv1.out_channels) == (len(kept["conv1"]), len(kept["layer1.0.conv1"]))
    assert block.bn1.num_features == len(kept["layer1.0.conv1"])


def test_empty_plan_changes_nothing(shipped: fl.ChannelGraph, images: Tensor):
    before = tensors_of(shipped.model)
    with torch.no_grad():
        expected = shipped.model(images)
        with fl.simulate(shipped, empty(shipped)) as model:
            assert torch.equal(model(images), expected)
            assert tensors_of(model) == before
    check_same(fl.prune(shipped, empty(shipped)), shipped.model, images)
    assert fl.agreement(shipped, empty(shipped)) <= 1e-5


def test_the_original_is_untouched(shipped: fl.ChannelGraph):
    before, provenance = snapshot(shipped.model), fl.provenance(shipped.model)
    fl.prune(shipped, random_plan(shipped))
    assert snapshot(shipped.model) == before
    assert fl.provenance(shipped.model) == provenance


# simulate ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("name", [None, "convnext_block", "tied", "grouped"])
def test_simulation_leaves_the_very_same_tensors(shipped: fl.ChannelGraph, name: str | None, error: type | None):
    graph = shipped if name is None else traced(name)
    before = snapshot(graph.model), tensors_of(graph.model)

    def simulated() -> None:
        with fl.simulate(graph, random_plan(graph)) as model:
            assert model is graph.model
            assert tensors_of(model) != before[1]
            if error is not None:
                raise error

    if error is None:
        simulated()
    else:
        with pytest.raises(error):
            simulated()
    assert (snapshot(graph.model), tensors_of(graph.model)) == before


def traced(name: str) -> fl.ChannelGraph:
    network = next(network for network in NETWORKS if network.name == name)
    return fl.trace(network.build(), network.inputs())


@pytest.mark.parametrize(
    "name",
    [
        None, "convnext_block", "group_norm", "rms_norm", "grouped", "channels_first_norms", "reductions_of_all_kinds",
        "norms_without_weights", "logarithm_of_softmax", "standardised_in_each_call",
    ],
)  # fmt: skip
def test_nested_simulations_remove_both(shipped: fl.ChannelGraph, name: str | None):
    graph = shipped if name is None else traced(name)
    before = tensors_of(graph.model)
    both, halves = random_plan(graph, 3), ({}, {})
    for group, channels in both.removed.items():
        step = graph[group].step
        blocks = graph[group].blocks or (0,) * graph[group].channels
        rank = {c: sum(blocks[d] == blocks[c] for d in channels if d < c) for c in channels}
        for half in (0, 1):  # as many from each block
            halves[half][group] = tuple(c for c in channels if rank[c] % 2 == half)
        assert len(halves[0][group]) % step == 0
    first, second = (fl.Plan(both.widths, half) for half in halves)
    with torch.no_grad():
        with fl.simulate(graph, both) as model:
            expected = model(graph.example_input)
        with fl.simulate(graph, first) as model, fl.simulate(graph, second):
            nested = model(graph.example_input)
    torch.testing.assert_close(nested, expected, rtol=1e-4, atol=1e-5)
    assert tensors_of(graph.model) == before


def test_a_plan_that_does_not_fit_changes_nothing(shipped: fl.ChannelGraph):
    before = tensors_of(shipped.model)
    with pytest.raises(ValueError, match="protected"), fl.simulate(shipped, fl.Plan({"fc": 10}, {"fc": (0,)})):
        pass
    assert tensors_of(shipped.model) == before


def test_weights_that_are_not_finite_are_cut_off_too(images: Tensor):
    model = busy(Model(lambda m, x: m.fc(pooled(m.conv(x))), {"conv": conv(1, 4), "fc": nn.Linear(4, 3)}))
    with torch.no_grad():
        model.fc.weight[:, 2] = torch.nan
    graph = fl.trace(model, images)
    assert fl.agreement(graph, fl.Plan({"conv": 4, "fc": 3}, {"conv": (2,)})) <= 1e-5


def test_agreement_tells_nan():
    model = busy(Model(lambda m, x: (m.fc(pooled(m.conv(x))), m.fc.bias), {"conv": conv(1, 4), "fc": nn.Linear(4, 3)}))
    with torch.no_grad():
        model.fc.bias[1] = torch.nan
    graph = fl.trace(model, torch.randn(1, 1, 8, 8))
    assert not fl.agreement(graph, empty(graph)) <= 1e-4


# prune ---------------------------------------------------------------------------------------------------------------


def test_pruning_twice_keeps_both_plans(shipped: fl.ChannelGraph, images: Tensor):
    first = random_plan(shipped, 1)
    small = fl.prune(shipped, first)
    again = fl.trace(small, shipped.example_input)
    assert {name: group.channels for name, group in again.items()} == first.kept
    second = fl.Plan.uniform(again, fl.score(again, "l1"), 0.3, multiple=1)
    assert fl.agreement(again, second, images) <= 1e-4
    smaller = fl.prune(again, second)
    assert fl.provenance(smaller).plans == (first, second)
    assert fl.provenance(small).plans == (first,)
    assert fl.provenance(shipped.model).plans == ()
    assert fl.provenance(smaller).architecture == "resnet20"
    check_cost(again, second, smaller)


def test_removing_in_two_steps_is_removing_at_once(shipped: fl.ChannelGraph, images: Tensor):
    both = fl.Plan.uniform(shipped, fl.score(shipped, "l2"), 0.5, multiple=1)
    first = fl.Plan(both.widths, {name: channels[::2] for name, channels in both.removed.items()})
    small = fl.prune(shipped, first)
    again = fl.trace(small, shipped.example_input)
    rest = {}
    for name, channels in both.removed.items():
        stay = [c for c in range(both.widths[name]) if c not in first.removed[name]]
        rest[name] = tuple(stay.index(c) for c in channels[1::2])
    second = fl.prune(again, fl.Plan(first.kept, rest))
    at_once = fl.prune(shipped, both).state_dict()
    assert all(torch.equal(tensor, at_once[name]) for name, tensor in second.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_mode_and_gradients_stay(dtype: torch.dtype, fashion: fl.tasks.Classification):
    model = fl.models.load("resnet20-fashion").to(dtype).train()
    model.layer1.eval()
    model.layer2.requires_grad_(False)
    graph = fl.trace(model, fashion.example_input.to(dtype))
    small = fl.prune(graph, random_plan(graph))
    for (name, old), new in zip(model.named_modules(), small.modules(), strict=True):
        assert old.training is new.training, name
    for (name, old), new in zip(model.named_parameters(), small.parameters(), strict=True):
        assert (old.dtype, old.device, old.requires_grad) == (new.dtype, new.device, new.requires_grad), name
        assert isinstance(new, nn.Parameter)
    if dtype == torch.float64:
        assert fl.agreement(graph, random_plan(graph)) <= 1e-12


def test_a_meta_device_stays(fashion: fl.tasks.Classification):
    model = fl.models.load("resnet20-fashion").to("meta")
    graph = fl.trace(model, fashion.example_input.to("meta"))
    small = fl.prune(graph, random_plan(graph))
    assert {tensor.device.type for tensor in small.state_dict().values()} == {"meta"}


def test_copies_do_not_share(shipped: fl.ChannelGraph):
    small = fl.prune(shipped, empty(shipped))
    theirs = {tensor.data_ptr() for tensor in shipped.model.state_dict().values()}
    assert not theirs & {tensor.data_ptr() for tensor in small.state_dict().values()}


def test_code_that_relies_on_a_width_is_named():
    def hidden(m: Model, x: Tensor) -> Tensor:
        x = m.conv(x)
        assert m.conv.out_channels == 8, "eight channels or nothing"
        return m.fc(pooled(m.last(x)))

    layers = {"conv": conv(3, 8), "last": conv(8, 6), "fc": nn.Linear(6, 5)}
    model, x = Model(hidden, layers), torch.randn(1, 3, 8, 8)
    assert "does not run without some of them (AssertionError: eight" in fl.trace(model, x)["conv"].protected
    graph = build_graph(model, x)  # nothing was tried
    plan = fl.Plan({"conv": 8}, {"conv": (0,)})
    with pytest.raises(RuntimeError, match=r"(?s)its own code failed with AssertionError: eight.*protect=\["):
        fl.prune(graph, plan)
    with fl.simulate(graph, plan) as model:  # nothing is cut, so that it still runs
        model(graph.example_input)
    assert copy.deepcopy(graph.model)(graph.example_input).shape == (1, 5)


def test_a_layer_that_does_not_fit_any_more_is_named():
    def hidden(m: Model, x: Tensor) -> Tensor:
        return m.fc(m.odd(pooled(m.conv(x))))

    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.weight.shape[1] != 8:
                raise TypeError("eight inputs or nothing")
            return super().forward(x)

    layers = {"conv": conv(3, 8), "odd": Odd(8, 6), "fc": nn.Linear(6, 5)}
    graph = build_graph(Model(hidden, layers), torch.randn(1, 3, 8, 8))
    with pytest.raises(RuntimeError, match="'odd' failed with TypeError: eight inputs"):
        fl.prune(graph, fl.Plan({"conv": 8}, {"conv": (0,)}))

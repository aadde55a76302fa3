"""The channel graph: a mapping, its table, its costs, and its words for what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.graph.tracing.recorder import TraceRecorder
from tests.allocation.made import branches, chain
from tests.checks import check_cost, random_plan
from tests.networks import NETWORKS, Model, busy, conv, pooled


def traced(name: str, **options: object) -> fl.ChannelGraph:
    network = next(network for network in NETWORKS if network.name == name)
    return fl.trace(network.build(), network.inputs(), **options)


# A mapping -----------------------------------------------------------------------------------------------------------


def test_it_is_a_mapping_in_order_of_execution(graph: fl.ChannelGraph):
    assert isinstance(graph, Mapping)
    assert list(graph)[:3] == ["conv1", "layer1.0.conv1", "layer1.1.conv1"]
    assert list(graph)[-1] == "fc"
    assert len(graph) == len(list(graph)) == len(graph.values())
    assert "conv1" in graph
    assert "conv2" not in graph
    assert graph.get("conv2") is None
    for name, group in graph.items():
        assert group is graph[name]
        assert group.name == name == group.producers[0]
    assert "13 groups, 12 of them prunable" in repr(graph)


def test_residual_stages_are_one_group_each(graph: fl.ChannelGraph):
    assert graph["conv1"].channels == 16
    assert graph["conv1"].producers == ("conv1", *(f"layer1.{i}.conv2" for i in range(3)))
    stage = graph["layer2.0.conv2"]
    assert stage.channels == 32
    assert set(stage.producers) == {"layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv2", "layer2.2.conv2"}
    assert set(stage.consumers) == {"layer2.1.conv1", "layer2.2.conv1", "layer3.0.conv1", "layer3.0.shortcut.0"}
    assert graph["fc"].protected == "it is the model's output"


def test_unknown_group_has_a_near_one(graph: fl.ChannelGraph):
    with pytest.raises(KeyError, match=r"unknown group 'layer1\.0\.conv9': did you mean 'layer1\.0\.conv1'\?"):
        graph["layer1.0.conv9"]


# protect= ------------------------------------------------------------------------------------------------------------


def test_protect_a_layer_and_a_block(resnet: nn.Module, fashion: fl.tasks.Classification):
    graph = fl.trace(resnet, fashion.example_input, protect=["conv1", "layer3"])
    named = {name: group.protected for name, group in graph.items() if group.protected}
    assert named["conv1"] == "the user named 'conv1'"
    assert named["layer3.1.conv1"] == "the user named 'layer3'"
    assert set(named) == {"conv1", "fc", *(name for name in graph if name.startswith("layer3."))}
    assert "layer2.0.conv1" not in named


def test_protect_follows_coupled_layers(resnet: nn.Module, fashion: fl.tasks.Classification):
    graph = fl.trace(resnet, fashion.example_input, protect="layer1.2.conv2")
    assert graph["conv1"].protected == "the user named 'layer1.2.conv2'"
    graph = fl.trace(resnet, fashion.example_input, protect=["bn1"])
    assert graph["conv1"].protected == "the user named 'bn1'"


def test_protect_everything(resnet: nn.Module, fashion: fl.tasks.Classification):
    assert all(group.protected for group in fl.trace(resnet, fashion.example_input, protect=[""]).values())


def test_protect_an_unknown_name(resnet: nn.Module, fashion: fl.tasks.Classification):
    with pytest.raises(ValueError, match=r"unknown module 'layer4': did you mean 'layer\d'\?"):
        fl.trace(resnet, fashion.example_input, protect=["layer4"])


def test_protect_does_not_match_half_a_name():
    graph = traced("plain", protect=["conv1"])
    assert graph["conv1"].protected
    assert graph["conv2"].protected is None


# The table -----------------------------------------------------------------------------------------------------------


def test_frame(graph: fl.ChannelGraph):
    table = graph.frame()
    columns = ["group", "channels", "unit", "producers", "consumers", "protected", "remedy", "macs_share", "reached"]
    assert list(table.columns) == columns
    assert list(table["group"]) == list(graph)
    assert list(table["protected"] == "") == [group.protected is None for group in graph.values()]
    assert table["macs_share"].sum() == pytest.approx(1)
    # The first convolution of a block: 9 x 16 x 16 multiplications at each of 28 x 28 places.
    share = table.set_index("group").loc["layer1.0.conv1", "macs_share"]
    assert share == pytest.approx(9 * 16 * 16 * 28 * 28 / graph.cost().macs)
    assert "<table" in graph._repr_html_()


def test_reach(graph: fl.ChannelGraph):
    assert graph.reach == pytest.approx(1)  # the classifier makes the output, and reads what may go
    assert graph.frame()["reached"].tolist() == pytest.approx(graph.frame()["macs_share"].tolist())
    stuck = graph.protecting(dict.fromkeys(graph, "told so"))
    assert (stuck.reach, stuck.frame()["reached"].sum()) == (0, 0)
    # One group alone: its convolution and the one that reads it, both 9 x 16 x 16 at 28 x 28 places.
    one = graph.protecting(dict.fromkeys(set(graph) - {"layer1.0.conv1"}, "told so"))
    assert one.reach == pytest.approx(2 * 9 * 16 * 16 * 28 * 28 / graph.cost().macs)
    assert one.frame().set_index("group")["reached"].loc[["conv1", "layer1.0.conv1"]].tolist() == pytest.approx(
        [one.reach / 2] * 2
    )


def test_a_remedy_is_told_with_the_reason():
    label, to = torch.arange(1, 4), TraceRecorder(torch.nn.Linear(3, 3), 1)
    to.freeze(label, "for a reason", remedy="do this")
    assert to.trace.frozen[0][1] == ("for a reason", "do this")
    graph = traced("weight_norm")
    assert "remove_parametrizations" in graph["normed"].remedy
    assert graph.frame().set_index("group").loc["normed", "remedy"] == graph["normed"].remedy
    graph = traced("plain", protect=["conv1"])
    assert graph["conv1"].remedy == "trace without 'conv1' in protect"
    assert graph["conv2"].remedy == ""


def test_shares_of_a_layer_of_two_groups():
    graph = traced("gated")
    assert graph.frame()["macs_share"].sum() == pytest.approx(1)


def test_layers_that_nobody_can_cut_have_their_share():
    graph = traced("weight_norm")
    shares = graph.frame().set_index("group")["macs_share"]
    assert shares.sum() == pytest.approx(1)
    assert shares["normed"] == pytest.approx(6 * 8 * 9 * 64 / graph.cost().macs)


# Costs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet50() -> fl.ChannelGraph:
    model = torchvision.models.resnet50(weights=None)
    return fl.trace(model, torch.randn(1, 3, 224, 224))


def test_resnet50_has_its_known_cost(resnet50: fl.ChannelGraph):
    cost = resnet50.cost()
    assert cost.params == 25_557_032
    assert cost.macs == pytest.approx(4.09e9, rel=2e-3)
    buffers = 2 * 26_560 + 53  # running means and variances, and 53 counters of 8 bytes
    assert cost.bytes == 4 * (25_557_032 + buffers - 53) + 8 * 53


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_resnet50_cost_is_that_of_counting(resnet50: fl.ChannelGraph, seed: int | None):
    plan = None if seed is None else random_plan(resnet50, seed)
    model = resnet50.model.eval() if plan is None else fl.prune(resnet50, plan).eval()
    check_cost(resnet50, plan, model)


def test_cost_is_for_one_example_of_the_batch():
    model = Model(lambda m, x: m.fc(pooled(m.conv(x))), {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
    one, four = (fl.trace(model, torch.randn(n, 3, 8, 8)).cost() for n in (1, 4))
    assert one == four
    assert one.macs == 3 * 8 * 9 * 64 + 8 * 5


def test_buffers_that_are_not_saved_have_no_bytes():
    model = Model(lambda m, x: m.fc(pooled(m.conv(x))), {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
    before = fl.trace(model, torch.randn(1, 3, 8, 8)).cost()
    model.register_buffer("scratch", torch.zeros(100), persistent=False)
    assert fl.trace(model, torch.randn(1, 3, 8, 8)).cost() == before
    model.register_buffer("kept", torch.zeros(10, dtype=torch.float64))
    assert fl.trace(model, torch.randn(1, 3, 8, 8)).cost().bytes == before.bytes + 80


def test_cost_reads_well(graph: fl.ChannelGraph):
    cost = graph.cost()
    assert f"{cost.params / 1e6:.3f} M parameters" in str(cost)


# Plans that do not fit -----------------------------------------------------------------------------------------------


def plan_of(graph: fl.ChannelGraph, **removed: tuple[int, ...]) -> fl.Plan:
    return fl.Plan({name: group.channels for name, group in graph.items()}, removed)


def test_a_plan_of_which_most_groups_are_others_is_of_another_network(graph: fl.ChannelGraph):
    plan = fl.Plan(dict.fromkeys(["a", "b", "c", "d", *list(graph)[:1]], graph[next(iter(graph))].channels), {})
    words = "another network: 4 of its 5 groups are not there; it has 'a', 'b', 'c' and 2 more, this network "
    with pytest.raises(ValueError, match=words + repr(next(iter(graph)))) as caught:
        graph.cost(plan)
    assert "did you mean" not in str(caught.value)


def test_plan_for_another_network(graph: fl.ChannelGraph):
    plan = random_plan(traced("in_place"))
    for use in (graph.cost, graph.check, graph.keep, lambda p: fl.prune(graph, p)):
        with pytest.raises(ValueError, match=r"made for another network: unknown group 'stem'.*'layer1\.0\.conv1'"):
            use(plan)


def test_plan_for_other_widths(graph: fl.ChannelGraph):
    plan = fl.Plan({"conv1": 24}, {"conv1": (0,)})
    with pytest.raises(ValueError, match="other widths: group 'conv1' has 16 channels here, 24 in the plan"):
        graph.cost(plan)


def test_plan_for_a_protected_group(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match=r"'fc' is protected \(it is the model's output\), but the plan removes 2 of"):
        graph.cost(plan_of(graph, fc=(1, 2)))


def test_plan_that_removes_unevenly():
    graph = traced("grouped")
    with pytest.raises(ValueError, match=r"'conv' feeds a grouped.*each of its 4 blocks; the plan removes.* 0 and 2"):
        graph.check(plan_of(graph, conv=(0, 1)))
    graph.check(plan_of(graph, conv=(0, 2, 4, 6)))


def test_keep_numbers_channels_over_all_groups():
    graph = traced("plain")
    keep = graph.keep(plan_of(graph, conv2=(1, 3)))
    assert keep.sum() == len(keep) - 2
    where = graph.channels_of("conv2")
    assert np.flatnonzero(~keep).tolist() == [where.start + 1, where.start + 3]
    with pytest.raises(KeyError, match="did you mean 'conv2'"):
        graph.channels_of("conv3")


def test_groups_of_channels():
    graph = traced("concatenation")
    for layer in graph.layers:
        found = graph.groups_of(layer.inputs)
        for name, group in graph.items():
            where = graph.channels_of(name)
            mine = (layer.inputs >= where.start) & (layer.inputs < where.stop)
            assert (name in found) == mine.any()
            if mine.any():
                assert found[name][mine].tolist() == (layer.inputs[mine] - where.start).tolist()
                assert (found[name][~mine] == -1).all()
                assert found[name].max() < group.channels
    assert max(len(graph.groups_of(layer.inputs)) for layer in graph.layers) > 1
    assert graph.groups_of(np.array([-1])) == graph.groups_of(np.zeros(0, dtype=int)) == {}


def test_wrong_example_input_names_the_module(resnet: nn.Module):
    with pytest.raises(fl.TracingError, match=r"ResNet could not be traced.*\[\(1, 3, 28, 28\)\] failed in 'conv1'"):
        fl.trace(resnet, torch.randn(1, 3, 28, 28))
    with pytest.raises(fl.TracingError, match=r"\[\(1, 1, 28\)\]"):
        fl.trace(resnet, torch.randn(1, 1, 28))


def test_wrong_input_deep_inside_names_the_module():
    block = nn.Sequential(conv(8, 6), nn.ReLU(), conv(7, 6))
    model = busy(Model(lambda m, x: m.block(m.stem(x)), {"stem": conv(3, 8), "block": block}))
    with pytest.raises(fl.TracingError, match=r"failed in 'block\.2'"):
        fl.trace(model, torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize("make", [branches, lambda: chain(6, 9, 5)], ids=["branches", "chain"])
def test_terms_of_the_macs_add_up_to_the_cost(make: Callable[[], fl.ChannelGraph]):
    graph = make()
    terms = graph.costs.macs_terms
    places = list(zip(terms.groups, terms.first, terms.second, strict=True))
    assert len(set(places)) == len(places) == len(terms.macs)
    for seed in range(5):
        plan = random_plan(graph, seed)
        z = graph.costs.vector(graph.keep(plan))
        kept = [np.sum(graph.costs.cells[graph.keep(plan)] == cell) for cell in range(len(z) - 1)]
        assert z.tolist() == [*kept, 1]
        assert round(terms.at(z).sum()) == graph.cost(plan).macs
        assert terms.at(z).sum() == pytest.approx(z @ graph.costs.form("macs") @ z)
    nothing = fl.Plan.from_ratios(graph, {}, {})
    shares = [macs / graph.cost().macs for macs in counted(graph, nothing).values()]
    assert shares == pytest.approx(graph.frame()["macs_share"].tolist())


def test_macs_of_no_group_are_terms_too():
    model = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)  # which nobody cuts

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.attention, self.head = nn.Linear(4, 8), model, nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner(x)
            return self.head(self.attention(x, x, x, need_weights=False)[0])

    graph = fl.trace(Attention(), torch.randn(1, 5, 4))
    terms = graph.costs.macs_terms
    assert round(terms.at(graph.costs.vector()).sum()) == graph.cost().macs
    assert terms.macs[terms.groups == -1].sum() > 0


def counted(graph: fl.ChannelGraph, plan: fl.Plan) -> dict[str, int]:
    """Return the MACs of the layers that make each group's channels, counted while the pruned model runs."""
    small, found = fl.prune(graph, plan), dict.fromkeys(graph, 0)
    makers = {layer: name for name, group in graph.items() for layer in (*group.producers, *group.channelwise)}

    def note(name: str) -> callable:
        def hook(module: nn.Module, _: object, outputs: torch.Tensor) -> None:
            found[makers[name]] += module.weight[0].numel() * outputs.numel()

        return hook

    for name, module in small.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and name in makers:
            module.register_forward_hook(note(name))
    small(graph.example_input)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["branches", "chain"]))
def test_macs_by_group_against_counting_the_pruned_network(seed: int, name: str):
    graph = {"branches": branches, "chain": lambda: chain(5, 8, 6)}[name]()
    random = np.random.default_rng(seed)
    scores = fl.score(graph, "l1")
    ratios = {n: float(random.uniform(0, 0.9)) for n, g in graph.items() if g.protected is None}
    plan = fl.Plan.from_ratios(graph, scores, ratios)
    assert graph.macs_by_group(plan) == pytest.approx(counted(graph, plan))

"""Each situation goes the whole way, or says why not: simulated, cut, counted, trained, saved, loaded, exported."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.allocation.locking import check_locked
from fpgmlab.graph.building import build_graph
from tests.surgery.situations import SITUATIONS, Net, Situation, X, two
from tests.whole_way import apart, check_cut, check_saved, check_trains, outputs_of

BY_NAME = {situation.name: situation for situation in SITUATIONS}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")


@pytest.mark.parametrize("name", BY_NAME)
def test_the_whole_way(name: str, tmp_path: Path):
    situation = BY_NAME[name]
    model, fresh = situation.build(), situation.build
    before = {key: tensor.clone() for key, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}
    graph = fl.trace(model, situation.example)
    after = model.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    for group, words in situation.kept.items():
        assert graph[group].protected is not None, f"{group} can be cut"
        assert words in graph[group].protected
    free = [group for group, found in graph.items() if found.protected is None]
    assert {group for group in graph if group not in free} == set(situation.kept)

    tolerance = 0.05 if next(model.parameters()).dtype == torch.bfloat16 else 1e-4
    for ratio in (0.3, 0.8):
        plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), ratio, multiple=1)
        small = check_cut(graph, plan, macs=situation.macs, tolerance=tolerance)
    assert all(plan.removed[group] for group in free)
    check_trains(small, situation.example)
    if situation.saves:
        check_saved(small, fresh, situation.example, tmp_path)
    if situation.exports:
        path = tmp_path / "small.onnx"
        report = fl.export_onnx(small, situation.example, path, exporter=situation.exporter)
        assert report.max_rel_error < 1e-4


def test_there_are_many():
    assert len(BY_NAME) >= 40


def plan_of(situation: Situation) -> tuple[fl.ChannelGraph, fl.Plan]:
    graph = fl.trace(situation.build(), situation.example)
    return graph, fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)


# A plan that would empty a layer -------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[fl.ChannelGraph, dict[str, Tensor]], fl.Plan]] = {
    "uniform": lambda graph, scores: fl.Plan.uniform(graph, scores, 0.6, multiple=1),
    "by_depth": lambda graph, scores: fl.Plan.by_depth(graph, scores, 0.6, 0.6, 0.6, multiple=1),
    "from_ratios": lambda graph, scores: fl.Plan.from_ratios(graph, scores, {"a": 0.7}),
    "global_threshold": lambda graph, scores: fl.Plan.global_threshold(graph, scores, 0.6),
    "budget": lambda graph, scores: fl.Plan.uniform(graph, scores, params=0.6, multiple=1),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", ["one_branch_scores_lowest", "a_layer_that_reads_the_lowest", "three_branches_of_two"])
def test_no_maker_of_plans_empties_a_layer(name: str, maker: str):
    graph = fl.trace(BY_NAME[name].build(), X)
    plan = MAKERS[maker](graph, fl.score(graph, "l1"))
    assert plan.removed["a"]
    small = fl.prune(graph, plan)
    for layer in small.modules():
        if isinstance(layer, nn.Conv2d):
            assert len(layer.weight) >= 1
            assert layer.weight.shape[1] >= 1
    assert fl.agreement(graph, plan) < 1e-5


def test_a_plan_by_hand_that_empties_a_layer_is_refused():
    graph = fl.trace(BY_NAME["one_branch_scores_lowest"].build(), X)
    assert graph["a"].parts == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert graph["a"].least == 2
    plan = fl.Plan({"a": 8}, {"a": (0, 1, 2, 3)})
    for use in (graph.check, graph.cost, lambda plan: fl.prune(graph, plan)):
        with pytest.raises(ValueError, match="layer 'a' would make no channel any more.*Keep at least one"):
            use(plan)
    with pytest.raises(ValueError, match="from 2 to 8 channels; got 1"):
        check_locked(graph, {"a": 1})
    assert fl.thresholds.least_kept(graph["a"], 0.0) == 2


# Training ------------------------------------------------------------------------------------------------------------


def test_a_head_for_training_still_fits():
    graph, plan = plan_of(BY_NAME["deep_auxiliary_head_with_norm"])
    assert graph.training_only == ("aux.0", "aux.2")
    small = fl.prune(graph, plan).train()
    assert small.aux[0].in_channels == small.a.out_channels < 8
    assert [tuple(t.shape) for t in small(X)] == [(2, 4, 6, 6)] * 2
    assert graph.cost().macs == fl.trace(two(lambda m, x: m.last(m.b(m.a(x).relu()))), X).cost().macs


def test_a_model_that_cannot_run_in_training_mode_is_told_of():
    def run(m: nn.Module, x: Tensor) -> Tensor:
        if m.training:
            raise ValueError("targets, please")
        return m.last(m.b(m.a(x)))

    net = two(run, unused=nn.Conv2d(8, 4, 1))
    with pytest.warns(UserWarning, match=r"1 layers of Net do not run in evaluation \('unused'\).*targets, please"):
        graph = fl.trace(net, X)
    assert graph["a"].protected is None


def test_a_layer_that_never_runs_is_no_matter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = fl.trace(two(lambda m, x: m.last(m.b(m.a(x))), unused=nn.Conv2d(8, 4, 1)), X)
    assert graph.training_only == ()


# The model is left as it was -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["keeps_features_in_a_dict", "keeps_features_in_a_list", "a_hook_keeps_features"])
def test_containers_are_as_before(name: str):
    net = BY_NAME[name].build()
    net(X)
    kept = net.seen_by_hook if name == "a_hook_keeps_features" else net.seen
    before = dict(kept) if isinstance(kept, dict) else list(kept)
    fl.trace(net, X)
    after = dict(kept) if isinstance(kept, dict) else list(kept)
    assert len(after) == len(before) == 1
    (one,), (other,) = (tuple(v.values()) if isinstance(v, dict) else tuple(v) for v in (before, after))
    assert one is other


class Frozen(dict):
    """A configuration that refuses to be written to, such as diffusers'."""

    def update(self, *args: object, **kwargs: object) -> None:
        raise TypeError("it is frozen")

    clear = __setitem__ = update


def test_a_container_that_cannot_be_written_to():
    net = two(lambda m, x: m.last(m.b(m.a(x))))
    net.config = Frozen(width=8)
    assert fl.trace(net, X)["a"].protected is None
    assert net.config == {"width": 8}


def test_weights_that_forward_writes_are_as_before():
    net = BY_NAME["weights_written_in_forward"].build()
    before = net.b.eval_conv.weight.detach().clone()
    fl.trace(net, X)
    assert torch.equal(net.b.eval_conv.weight, before)


def by_no_grad(m: nn.Module) -> None:
    with torch.no_grad():
        m.b.weight.mul_(1.01)


@pytest.mark.parametrize(
    "write",
    [
        lambda m: m.b.weight.data.copy_(m.other.weight),
        lambda m: m.b.weight.data.__setitem__(0, 0.5),
        lambda m: m.b.weight.detach().numpy().fill(0.5),
        by_no_grad,
    ],
)
def test_weights_that_forward_writes_in_place_are_seen_and_as_before(write: Callable[[nn.Module], object]):
    net = two(lambda m, x: (write(m), m.last(m.b(m.a(x))))[1], other=nn.Conv2d(8, 6, 1))
    before = net.b.weight.detach().clone()
    graph = fl.trace(net, X)
    assert torch.equal(net.b.weight, before)
    assert graph["a"].protected == graph["b"].protected == "the forward pass writes the weights of 'b' anew"


# What is beside tensors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["extra_state_as_a_tensor", "extra_state_as_json"])
def test_extra_state_is_kept(name: str, tmp_path: Path):
    net = BY_NAME[name].build()
    net.scale.factor = 7.0
    fl.save(net, tmp_path / "net.safetensors")
    loaded = fl.load(tmp_path / "net.safetensors", model=BY_NAME[name].build())
    assert loaded.scale.factor == 7.0
    assert apart(outputs_of(loaded, X), outputs_of(net, X)) < 1e-6


def test_state_that_no_file_can_hold_is_named(tmp_path: Path):
    class Odd(nn.Identity):
        def get_extra_state(self) -> object:
            return {1, 2}

    with pytest.raises(TypeError, match=r"'odd' \(Odd\) keeps state that a safetensors file cannot hold.*a set"):
        fl.save(two(lambda m, x: x, odd=Odd()), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # torch says in many ways that this is going away
def test_a_dynamically_quantised_layer_is_named(tmp_path: Path):
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), {nn.Linear})
    with pytest.raises(TypeError, match=r"'1'.*keeps state that a safetensors file cannot hold"):
        fl.save(net, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


# Widths of another trace ---------------------------------------------------------------------------------------------


def test_einops_between_traces_of_other_widths():
    def net(width: int) -> nn.Module:
        model = BY_NAME["einops_there_and_back"].build()
        model.a, model.b = nn.Conv2d(3, width, 3), nn.Conv2d(width, 6, 1)
        return model

    for width in (20, 18, 20):
        model = net(width)
        model(X)  # its shapes are in the cache as numbers, too
        graph = fl.trace(model, X)
        assert graph["a"].protected is None
        assert fl.agreement(graph, fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.3, multiple=1)) < 1e-5


def test_equal_widths_are_not_tied_by_a_cache():
    graph = fl.trace(BY_NAME["einops_of_two_groups_of_one_width"].build(), X)
    assert graph["a"].producers == ("a",)
    assert graph["c"].producers == ("c",)


# Words ---------------------------------------------------------------------------------------------------------------


def test_a_random_network_is_called_so(tmp_path: Path):
    net = two(lambda m, x: m.last(m.b(torch.nn.functional.dropout(m.a(x)))))
    graph = fl.trace(net, X)
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.3, multiple=1)
    for use in (
        lambda: fl.agreement(graph, plan),
        lambda: fl.export_onnx(net, X, tmp_path / "net.onnx", exporter="torchscript"),
    ):
        with pytest.raises(RuntimeError, match="answers the same input differently each time"):
            use()


def test_a_dict_as_one_argument_gets_a_hint():
    net = two(lambda m, batch: m.last(m.b(m.a(batch["x"]))))
    with pytest.raises(fl.TracingError, match=r"TypeError.*pass \(the_dict,\)"):
        fl.trace(net, {"x": X})
    assert fl.trace(net, ({"x": X},))["a"].protected is None
    anything = two(lambda m, *batches, **named: m.last(m.b(m.a(batches[0]["x"]))))
    with pytest.raises(fl.TracingError, match=r"IndexError.*pass \(the_dict,\)"):
        fl.trace(anything, {"x": X})

    class Named(Net):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    with pytest.raises(fl.TracingError, match=r"failed in the model itself: AssertionError\. Pass an") as caught:
        fl.trace(Named(None), {"x": X})
    assert "the_dict" not in str(caught.value)


def test_the_opset_is_the_one_that_was_asked_for(tmp_path: Path):
    net = two(lambda m, x: m.last(m.b(m.norm(m.a(x)))), norm=nn.BatchNorm2d(8))
    assert fl.export_onnx(net, X, tmp_path / "a.onnx", opset=13).opset == 13
    assert fl.export_onnx(net, X, tmp_path / "b.onnx", opset=13, exporter="dynamo").opset == 13


def test_what_data_parallel_wraps_is_exported(tmp_path: Path):
    net = nn.DataParallel(two(lambda m, x: m.last(m.b(m.a(x)))))
    assert fl.export_onnx(net, X, tmp_path / "a.onnx", exporter="torchscript").max_rel_error < 1e-4


def test_a_head_for_training_that_does_not_run_with_more_examples_is_no_reason_to_refuse():
    def run(m: nn.Module, x: Tensor) -> object:
        y = m.a(x)
        if m.training and len(x) > 2:
            raise ValueError("two at most")
        return (m.last(m.b(y)), m.aux(y)) if m.training else m.last(m.b(y))

    graph = fl.trace(two(run, aux=nn.Conv2d(8, 4, 1)), X)
    assert graph.training_only == ("aux",)
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)
    small = fl.prune(graph, plan).train()  # twice the example is four
    assert [tuple(t.shape) for t in small(X)] == [(2, 4, 6, 6)] * 2


def test_a_network_of_random_shape_is_called_random():
    net = two(lambda m, x: m.last(m.b(m.a(x)))[..., : int(torch.randint(1, 6, ()))])
    graph = build_graph(net, X)
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)
    with pytest.raises(RuntimeError, match="answers the same input differently each time"):
        for _ in range(20):
            fl.agreement(graph, plan)


def test_what_a_graph_holds_is_copied_after_a_training_step():
    graph = fl.trace(BY_NAME["copied_after_a_training_step"].build(), X)
    assert not graph.model.last_features.is_leaf
    again = copy.deepcopy(graph)
    assert again.model is not graph.model
    assert again.cost() == graph.cost()
    assert torch.equal(again.model.last_features, graph.model.last_features)


def test_a_network_without_numbers_is_not_tried():
    net = BY_NAME["width_by_out_channels"].build().to("meta")
    graph = fl.trace(net, X.to("meta"))
    assert graph.suspect
    assert graph["a"].protected is None


# Numbers in attributes -----------------------------------------------------------------------------------------------


def test_attributes_that_hold_a_number_of_channels_are_written_anew():
    net = BY_NAME["a_scale_viewed_by_a_stored_shape"].build()
    graph = fl.trace(net, X)
    assert graph["a"].channelwise == ("scale.gamma", "scale.beta")
    assert (type(net.scale.channels), type(net.scale.shape[1]), net.scale.shape) == (int, int, (1, 8, 1, 1))
    small = fl.prune(graph, fl.Plan({"a": 8}, {"a": (1, 2)}))
    assert small.scale.shape == (1, 6, 1, 1)
    assert net.scale.shape == (1, 8, 1, 1)
    again = fl.trace(small, X)
    smaller = fl.prune(again, fl.Plan({"a": 6}, {"a": (0,)}))
    assert smaller.scale.shape == (1, 5, 1, 1)
    assert dict(fl.provenance(smaller).numbers) == {"scale.shape": (1, 5, 1, 1)}


def test_widths_that_one_attribute_counts_are_tied():
    def run(s: nn.Module, x: Tensor) -> Tensor:
        assert x.shape[1] == s.channels
        y = s.conv(x)
        assert y.shape[1] == s.channels
        return y

    block = Net(run, conv=nn.Conv2d(8, 8, 1))
    block.channels = 8
    graph = fl.trace(two(lambda m, x: m.last(m.b(m.block(m.a(x)).relu())), block=block), X)
    assert graph["a"].producers == ("a", "block.conv")
    assert graph["a"].protected is None
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.4, multiple=1)
    assert fl.agreement(graph, plan) < 1e-5
    assert fl.prune(graph, plan).block.conv.weight.shape[:2] == (5, 5)


def test_widths_that_were_found_alike_stay_alike():
    graph = fl.trace(BY_NAME["widths_that_are_alike_decide"].build(), X)
    assert graph["a"].producers == ("a", "c")


def test_a_file_whose_numbers_do_not_fit_is_refused(tmp_path: Path):
    graph = fl.trace(BY_NAME["a_width_asserted_by_an_attribute"].build(), X)
    small = fl.prune(graph, fl.Plan({"a": 8}, {"a": (1, 2)}))
    fl.save(small, tmp_path / "small.safetensors")
    fresh = BY_NAME["a_width_asserted_by_an_attribute"].build()
    assert fl.load(tmp_path / "small.safetensors", model=fresh).scale.channels == 6
    fresh.scale.channels = "eight"
    with pytest.raises(ValueError, match="the attribute 'scale.channels' should become 6; it is 'eight'"):
        fl.load(tmp_path / "small.safetensors", model=fresh)


def test_a_convolution_across_channels_does_not_make_them_one():
    graph = fl.trace(BY_NAME["a_convolution_across_channels"].build(), X)
    assert {name: group.channels for name, group in graph.items()} == {"a": 8, "b": 6, "last": 4}
    assert graph["a"].protected is None

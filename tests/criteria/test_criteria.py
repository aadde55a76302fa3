"""Criteria held against scipy and closed forms."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch_pruning as tp
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from torch import nn

import fpgmlab as fl
from fpgmlab.criteria import FPGM, L2, NAMED, BNGamma, Criterion, Custom, FPGMMix, GraphCriterion, Random


def vectors(module: nn.Module) -> np.ndarray:
    return module.weight.detach().double().flatten(1).numpy()


def test_fpgm_is_the_sum_of_scipys_distances(graph: fl.ChannelGraph):
    scores = fl.score(graph, "fpgm")
    assert list(scores) == list(graph)
    for name, group in graph.items():
        v = vectors(graph.model.get_submodule(name))
        assert scores[name].shape == (group.channels,)
        assert_allclose(scores[name], cdist(v, v).sum(1), rtol=1e-12)


@pytest.mark.parametrize(("criterion", "order"), [("l1", 1), ("l2", 2)])
def test_norms(graph: fl.ChannelGraph, criterion: str, order: int):
    for name, score in fl.score(graph, criterion).items():
        assert_allclose(score, np.linalg.norm(vectors(graph.model.get_submodule(name)), order, axis=1))


@pytest.mark.parametrize(
    ("reduce", "by_hand"), [("root", lambda s: s[0]), ("mean", np.mean), ("sum", np.sum), ("max", np.max)]
)
def test_producers_of_one_group_are_reduced(graph: fl.ChannelGraph, reduce: str, by_hand):
    group = graph["conv1"]
    assert len(group.producers) == 4
    each = np.stack([np.linalg.norm(vectors(graph.model.get_submodule(p)), axis=1) for p in group.producers])
    expected = by_hand(each) if reduce == "root" else by_hand(each, axis=0)
    assert_allclose(fl.score(graph, "l2", reduce=reduce)["conv1"], expected)


def test_gamma_is_the_batch_norms_scale(graph: fl.ChannelGraph):
    scores = fl.score(graph, "bn_gamma")
    assert "fc" not in scores  # protected, and has none
    assert_allclose(scores["layer1.0.conv1"], graph.model.layer1[0].bn1.weight.detach().abs())


def test_random_follows_the_seed(graph: fl.ChannelGraph):
    a, b, c = (fl.score(graph, "random", seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in graph)
    assert not any(torch.equal(a[name], c[name]) for name in graph)


def test_blocks_of_a_grouped_convolution_are_compared_within():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, 2, 1))
    graph = fl.trace(model, torch.randn(1, 3, 8, 8))
    blocks = vectors(model[1]).reshape(4, 3, -1)
    assert_allclose(fl.score(graph, "fpgm")["1"], np.concatenate([cdist(b, b).sum(1) for b in blocks]))


def test_filters_of_transposed_and_linear_layers():
    model = nn.Sequential(nn.ConvTranspose2d(3, 6, 2, stride=2), nn.Flatten(), nn.Linear(6 * 16, 5), nn.Linear(5, 2))
    graph = fl.trace(model, torch.randn(1, 3, 2, 2))
    scores = fl.score(graph, "fpgm")
    v = model[0].weight.detach().double().transpose(0, 1).flatten(1).numpy()  # (out, in * k * k)
    assert_allclose(scores["0"], cdist(v, v).sum(1))
    w = vectors(model[2])
    assert_allclose(scores["2"], cdist(w, w).sum(1))


def test_bad_requests_are_named(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match="unknown criterion 'fpmg': did you mean 'fpgm'"):
        fl.score(graph, "fpmg")
    with pytest.raises(ValueError, match="reduce must be one of 'root', 'mean', 'sum', 'max'; not 'min'"):
        fl.score(graph, reduce="min")
    plain = fl.trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)), torch.randn(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"'BNGamma' does not apply to group '0': it has no batch_norm"):
        fl.score(plain, "bn_gamma")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_weights_are_named(graph: fl.ChannelGraph, bad: float):
    with torch.no_grad():
        graph.model.layer2[1].conv1.weight[3, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"layer 'layer2\.1\.conv1' has NaN or infinite weights"):
        fl.score(graph, "fpgm")


# Variants of FPGM --------------------------------------------------------------------------------------------------


def wide(groups: int = 1) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 16, 3), nn.Conv2d(16, 4, 3)]
    return nn.Sequential(*layers), torch.randn(1, 3, 12, 12)


def test_centers_in_closed_form():
    points = torch.randn(20, 6)
    v = points.double().numpy()
    between = cdist(v, v)
    assert_allclose(FPGM(center="medoid")(points), between[between.sum(1).argmin()], atol=1e-12)
    center = minimize(lambda x: np.linalg.norm(v - x, axis=1).sum(), v.mean(0), tol=1e-12).x
    assert_allclose(FPGM(center="median")(points), np.linalg.norm(v - center, axis=1), atol=1e-5)
    assert sorted(FPGM(center="greedy")(points).tolist()) == list(range(20))
    assert int(FPGM(center="greedy")(points).argmin()) == between.sum(1).argmin()
    assert_allclose(FPGM(distance="l1")(points), cdist(v, v, "cityblock").sum(1))
    assert_allclose(FPGM(distance="cosine")(points), cdist(v, v, "cosine").sum(1))
    assert_allclose(FPGM(distance=3)(points), cdist(v, v, "minkowski", p=3).sum(1))


@pytest.mark.parametrize("who", ["paper", "nni", "paddleslim"])
def test_who_sums_distances(who: str):
    points = torch.randn(30, 12)
    # Written out as those programs do: one filter at a time, minus all others.
    by_hand = [float(np.sqrt(((points.numpy() - one) ** 2).sum(-1)).sum()) for one in points.numpy()]
    assert np.array_equal(FPGM(as_implemented_by=who)(points).argsort(), np.argsort(by_hand))


def test_the_tutorials_medoid():
    points = torch.randn(30, 12)
    center = min(range(30), key=lambda i: float((points - points[i]).norm(dim=1).sum()))
    by_hand = (points - points[center]).norm(dim=1)
    found = FPGM(as_implemented_by="medoid-tutorial")(points)
    assert torch.equal(found.argsort(), by_hand.argsort())


def torch_prunings(model: nn.Module, example: torch.Tensor, layer: str) -> np.ndarray:
    """Return the scores that the installed torch-pruning gives to the group of a layer."""
    modules = dict(model.named_modules())
    dependencies = tp.DependencyGraph().build_dependency(model, example)
    root = modules[layer]
    channels = list(range(root.out_channels))
    group = dependencies.get_pruning_group(root, tp.prune_conv_out_channels, channels)
    return tp.importance.FPGMImportance(normalizer=None)(group).numpy()


@pytest.mark.parametrize("name", ["chain", "resnet"])
def test_torch_prunings_ranking_is_its_own(name: str, graph: fl.ChannelGraph):
    model, example = wide() if name == "chain" else (graph.model, graph.example_input)
    for parameter in model.parameters():
        parameter.requires_grad_(True)  # its tracing needs them
    traced = fl.trace(model, example)
    scores = fl.score(traced, FPGM(as_implemented_by="torch-pruning"))
    compared = 0
    for group in traced.values():
        if group.protected is None:
            theirs = torch_prunings(model, example, group.name)
            # It computes in float32, beyond 25 filters through a matrix product.
            assert_allclose(scores[group.name], theirs, rtol=2e-3)
            assert spearmanr(scores[group.name], theirs).statistic > 0.999
            compared += 1
    assert compared >= 2


def test_opposite_filters_are_told_apart_but_not_by_torch_pruning():
    points = torch.randn(5, 9)
    points = torch.cat([points, -points[:1], points[:1] * 0.1])
    ours, theirs = FPGM()(points), FPGM(as_implemented_by="torch-pruning")(points)
    assert theirs[0] == theirs[5]
    assert ours[0] != ours[5]


def test_mix_takes_the_norm_first_and_fpgm_among_the_survivors():
    points = torch.randn(40, 8) * torch.linspace(0.2, 2, 40)[:, None]
    v = points.double().numpy()
    by_norm = np.argsort(np.linalg.norm(v, axis=1))[:4]
    survivors = np.setdiff1d(np.arange(40), by_norm)
    sums = cdist(v[survivors], v[survivors]).sum(1)
    expected = {*by_norm, *survivors[np.argsort(sums)[:12]]}
    mix = FPGMMix(norm_ratio=0.1, distance_ratio=0.3)
    assert set(mix(points).argsort()[:16].tolist()) == expected
    assert mix.ratio == pytest.approx(0.4)
    assert torch.equal(FPGMMix(norm_ratio=0)(points).argsort(), FPGM()(points).argsort())
    assert bool((FPGMMix()(torch.ones(6, 3)) >= 0).all())


def test_rules_of_ones_own(graph: fl.ChannelGraph):
    largest = Custom(lambda filters: filters.abs().amax(1), "largest weight")
    expected = np.abs(vectors(graph.model.get_submodule("layer1.0.conv1"))).max(1)
    assert_allclose(fl.score(graph, largest)["layer1.0.conv1"], expected)
    with pytest.raises(ValueError, match=r"layer 'conv1' .* the rule 'total' must give a tensor \(16,\)"):
        fl.score(graph, Custom(lambda filters: filters.sum(), "total"))


@pytest.mark.parametrize("criterion", ["fpgm", "random", FPGM(as_implemented_by="torch-pruning")])
def test_some_groups_alone_are_scored_as_among_all(graph: fl.ChannelGraph, criterion: str | FPGM):
    every, some = fl.score(graph, criterion), fl.score(graph, criterion, groups=["layer2.0.conv1", "conv1"])
    assert list(some) == ["layer2.0.conv1", "conv1"]
    assert all(torch.equal(some[name], every[name]) for name in some)
    with pytest.raises(KeyError, match="unknown group 'conv9'"):
        fl.score(graph, criterion, groups=["conv9"])


def test_labels_name_what_differs_from_the_defaults():
    labels = [c.label for c in (FPGM(), FPGM(center="median"), L2(), BNGamma(), Random(3), FPGMMix(0.2))]
    assert labels == ["FPGM", "FPGM(center=median)", "L2", "BNGamma", "Random(seed=3)", "FPGMMix(norm_ratio=0.2)"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"center": "mean"}, "center must be one of 'sum', 'median', 'medoid', 'greedy'; not 'mean'"),
        ({"distance": "manhattan"}, "distance must be one of 'euclidean'"),
        ({"center": "median", "distance": "l1"}, "that of euclidean distances; not of distance='l1'"),
        ({"as_implemented_by": "me"}, "as_implemented_by must be one of 'paper', 'torch-pruning'"),
        ({"as_implemented_by": "nni", "center": "medoid"}, "'nni' fixes distance and center"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        FPGM(**options)


def test_mix_ratios_out_of_range_are_named():
    with pytest.raises(ValueError, match="their sum below 1; got 0.5 and 0.5"):
        FPGMMix(0.5, 0.5)


def test_what_is_no_criterion_is_named(graph: fl.ChannelGraph):
    with pytest.raises(TypeError, match="an object of fpgmlab.criteria, such as FPGM"):
        fl.score(graph, FPGM)


def test_criteria_of_ones_own(graph: fl.ChannelGraph):
    class Largest(Criterion):  # neither a dataclass nor with options
        reduce = "max"

        def scores(self, filters: torch.Tensor) -> torch.Tensor:
            return filters.abs().amax(dim=1)

    class Duck:
        kinds, reduce, consumers, label = frozenset({"conv", "linear"}), "max", False, "duck"

        def __call__(self, filters: torch.Tensor) -> torch.Tensor:
            return self.scores(filters.flatten(1))

        def scores(self, filters: torch.Tensor) -> torch.Tensor:
            return filters.abs().amax(dim=1)

    assert Largest().label == "Largest"
    assert isinstance(Duck(), Criterion)
    largest, duck = fl.score(graph, Largest()), fl.score(graph, Duck())
    custom = fl.score(graph, Custom(lambda filters: filters.abs().amax(dim=1)), reduce="max")
    for name in graph:
        assert_allclose(largest[name], custom[name])
        assert_allclose(duck[name], custom[name])


def test_criteria_that_look_at_the_graph_are_asked_once(graph: fl.ChannelGraph):
    class ByMacs(GraphCriterion):
        def of_graph(self, graph: fl.ChannelGraph, names: Sequence[str]) -> dict[str, torch.Tensor]:
            macs = graph.macs_by_group()
            return {n: torch.full((graph[n].channels,), macs[n]) for n in names if n != "conv1"}

    names = ["layer1.0.conv1", "layer2.0.conv1"]
    scores = fl.score(graph, ByMacs(), groups=names)
    assert {n: float(s[0]) for n, s in scores.items()} == {n: graph.macs_by_group()[n] for n in names}
    with pytest.raises(ValueError, match="'ByMacs' does not apply to group 'conv1': it gives it no scores"):
        fl.score(graph, ByMacs())


# What a criterion meets in the wild ----------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", [*NAMED, FPGM(center="median"), FPGM(center="medoid"), FPGM(center="greedy")])
def test_odd_layers_have_scores(criterion: str | FPGM):
    """One channel, one filter, identical filters, filters of zeros, half precision."""
    model = nn.Sequential(
        nn.Conv2d(2, 1, 1), nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8),
        nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1), nn.BatchNorm2d(2),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[2].weight[:] = model[2].weight[0]
        model[4].weight.zero_()
    graph = fl.trace(model, torch.randn(1, 2, 6, 6))
    halved = fl.trace(copy.deepcopy(model).to(torch.bfloat16), torch.randn(1, 2, 6, 6, dtype=torch.bfloat16))
    for traced in (graph, halved):
        for name, scores in fl.score(traced, criterion).items():
            assert scores.shape == (traced[name].channels,)
            assert scores.dtype is torch.float64
            assert bool(torch.isfinite(scores).all())
    if isinstance(criterion, FPGM) and criterion.center in ("median", "medoid"):
        assert fl.score(graph, criterion)["2"].unique().numel() == 1


def test_a_layer_without_numbers_is_named():
    model, example = wide()
    graph = fl.trace(model, example)
    model[3].to("meta")
    with pytest.raises(ValueError, match="layer '3' has no numbers: it lies on the meta device"):
        fl.score(graph)


def test_gammas_are_a_table(graph: fl.ChannelGraph):
    frame = fl.gammas(graph)
    assert list(frame.columns) == ["group", "layer", "channel", "gamma", "beta"]
    norms = {n: m for n, m in graph.model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert set(frame["layer"]) == set(norms)
    assert len(frame) == sum(m.num_features for m in norms.values())
    part = frame[frame["layer"] == "layer2.0.bn1"]
    assert set(part["group"]) == {"layer2.0.conv1"}
    assert part["channel"].tolist() == list(range(32))
    assert_allclose(part["gamma"], norms["layer2.0.bn1"].weight.detach(), rtol=1e-6)
    assert_allclose(part["beta"], norms["layer2.0.bn1"].bias.detach(), rtol=1e-6)


def test_batch_norm_without_scales_is_no_gamma():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 2, 3))
    graph = fl.trace(model, torch.randn(1, 1, 8, 8))
    assert len(fl.gammas(graph)) == 0
    with pytest.raises(ValueError, match="'BNGamma' does not apply to group '0': it has no batch_norm with weights"):
        fl.score(graph, "bn_gamma")


def test_very_many_groups_cost_little():
    """A second of the processor would be ten times what it takes: nothing is asked of each group for each layer."""
    model = nn.Sequential(*[nn.Conv2d(4, 4, 1) for _ in range(1000)])
    graph = fl.trace(model, torch.zeros(1, 4, 2, 2))
    start = time.process_time()
    scores = fl.score(graph, "fpgm")
    assert time.process_time() - start < 1
    assert len(scores) == len(graph) == 1000
    assert_allclose(scores["998"], cdist(*[model[998].weight.detach().flatten(1).double()] * 2).sum(1), rtol=1e-12)


def test_scores_are_a_dict_that_is_shown_as_a_table():
    scores = fl.criteria.Scores({f"layer{i}": torch.arange(4.0) + i for i in range(100)})
    lines = repr(scores).splitlines()
    assert lines[0] == "Scores of 100 groups, the lowest channels are removed first"
    assert lines[2].split() == ["layer0", "4", "0", "1", "3"]
    assert lines[-1].split() == ["layer99", "4", "99", "100", "102"]
    assert len(lines) < 50
    assert repr(fl.criteria.Scores()) == "Scores of 0 groups, the lowest channels are removed first"
    assert isinstance(scores, dict)
    assert list(pickle.loads(pickle.dumps(scores))) == list(scores)

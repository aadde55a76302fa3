"""What `FilterExplorer` shows, as data, against scipy and `Plan`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from torch import nn

import fpgmlab as fl
from fpgmlab.criteria import FPGM, NAMED
from fpgmlab.geometry import clustered_order, geometric_median, medoid, pca
from fpgmlab.widgets import filter_view
from fpgmlab.widgets.explorer.payload import scene_notes
from fpgmlab.widgets.explorer.scene import filter_scene
from fpgmlab.widgets.explorer.tiles import filter_pictures
from tests.heads import filters_of_head, heads


def chain(*layers: nn.Module, example: torch.Tensor | None = None) -> fl.ChannelGraph:
    return fl.trace(nn.Sequential(*layers).eval(), torch.randn(1, 3, 8, 8) if example is None else example)


def vectors(graph: fl.ChannelGraph, name: str) -> torch.Tensor:
    return graph.model.get_submodule(name).weight.detach().double().flatten(1)


@pytest.mark.parametrize("criterion", NAMED)
def test_scores_and_removed_are_those_of_the_whole_graph(graph: fl.ChannelGraph, criterion: str):
    scores = fl.score(graph, criterion)
    for name, group in graph.items():
        if group.protected is None:
            view = filter_view(graph, name, criterion, 0.4)
            assert torch.equal(view.scores, scores[name])
            assert view.plan == fl.Plan.from_ratios(graph, scores, {name: 0.4})
            assert view.removed == view.plan.removed[name]
            assert_array_equal(view.removal, np.argsort(scores[name].numpy(), kind="stable"))
            assert_array_equal(view.ranks[view.removal], np.arange(group.channels))


def test_torch_prunings_fpgm_looks_at_consumers_too(graph: fl.ChannelGraph):
    rule = FPGM(as_implemented_by="torch-pruning")
    scores = fl.score(graph, rule)
    for name in ("conv1", "layer2.0.conv1"):
        assert torch.equal(filter_view(graph, name, rule, 0.3).scores, scores[name])


def test_distances_in_clustered_order(graph: fl.ChannelGraph):
    scene = filter_view(graph, "layer2.0.conv1").scene
    v = vectors(graph, "layer2.0.conv1")
    between = cdist(v, v)
    assert sorted(scene.order) == list(range(32))
    assert (scene.low, scene.high) == pytest.approx((between[~np.eye(32, dtype=bool)].min(), between.max()))
    seen = scene.low + scene.matrix / 255 * (scene.high - scene.low)
    expected = np.clip(between[scene.order][:, scene.order], scene.low, None)
    assert_allclose(seen, expected, atol=(scene.high - scene.low) / 500)


def test_clustered_order_keeps_clusters_together():
    points = np.array([0.0, 10.0, 0.1, 10.1, 0.2, 10.2])[:, None]
    order = clustered_order(cdist(points, points))
    assert {frozenset(order[:3] % 2), frozenset(order[3:] % 2)} == {frozenset({0}), frozenset({1})}


def test_map_is_the_pca_with_median_and_medoid(graph: fl.ChannelGraph):
    scene = filter_view(graph, "layer3.0.conv1").scene
    v = vectors(graph, "layer3.0.conv1")
    plane = pca(v)
    assert_allclose(scene.coordinates, plane.coordinates, atol=1e-6)
    assert_allclose(scene.median, plane.project(geometric_median(v).point[None])[0], atol=1e-12)
    assert scene.medoid == medoid(v)
    assert 0 < scene.shares.sum() < 1


@pytest.mark.parametrize("count", [40, 300])  # below and above the size from which a matrix product is used
def test_neighbours_are_scipys(count: int):
    graph = chain(nn.Conv2d(64, count, 7), nn.Conv2d(count, 2, 1), example=torch.randn(1, 64, 8, 8))
    with torch.no_grad():
        graph.model[0].weight[7] = graph.model[0].weight[3]
    scene = filter_view(graph, "0").scene
    v = vectors(graph, "0").numpy()
    between = cdist(v, v)
    np.fill_diagonal(between, np.inf)
    assert_array_equal(scene.neighbours, np.argsort(between, axis=1, kind="stable")[:, :5])
    assert_allclose(scene.neighbour_distances, np.sort(between, axis=1)[:, :5], rtol=1e-12)
    assert scene.neighbours[7, 0] == 3
    assert scene.neighbour_distances[7, 0] == 0


def test_the_criterions_distance_is_shown(graph: fl.ChannelGraph):
    scene = filter_view(graph, "layer1.0.conv1", FPGM(distance="cosine")).scene
    between = cdist(*2 * [vectors(graph, "layer1.0.conv1")], "cosine")
    np.fill_diagonal(between, np.inf)
    assert scene.distance == "cosine"
    assert_allclose(scene.neighbour_distances[:, 0], between.min(axis=1))


def test_a_large_group_is_shown_as_means_of_blocks():
    torch.manual_seed(0)
    graph = chain(nn.Conv2d(3, 1300, 1), nn.Conv2d(1300, 2, 1))
    scene = filter_view(graph, "0", "l2").scene
    assert scene.matrix.shape == (512, 512)
    assert_array_equal(scene.matrix, scene.matrix.T)
    assert scene.pictures.shape == (1300, 2, 2, 4)


def test_what_has_not_changed_is_reused(graph: fl.ChannelGraph):
    view = filter_view(graph, "conv1", "fpgm", 0.3)
    moved = filter_view(graph, "conv1", "fpgm", 0.5, reuse=view)
    assert moved.scene is view.scene
    assert moved.scores is view.scores
    assert moved.removed == filter_view(graph, "conv1", "fpgm", 0.5).removed
    assert filter_view(graph, "conv1", "l1", 0.5, reuse=moved).scores is not view.scores
    assert filter_view(graph, "layer1.0.conv1", "fpgm", 0.5, reuse=moved).scene is not view.scene
    assert filter_view(graph, "conv1", FPGM(distance="l1"), 0.5, reuse=moved).scene is not view.scene


def test_protected_groups_are_shown_and_keep_everything(graph: fl.ChannelGraph):
    view = filter_view(graph, "fc", "fpgm", 0.9)
    assert view.protected == graph["fc"].protected
    assert view.removed == ()
    assert len(view.scene) == 10


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_filters(count: int):
    graph = chain(nn.Conv2d(3, count, 3), nn.Conv2d(count, 2, 1))
    view = filter_view(graph, "0", "fpgm", 0.5)
    assert view.scene.matrix.shape == (count, count)
    assert view.scene.neighbours.shape == (count, count - 1)


def test_identical_filters():
    graph = chain(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1))
    nn.init.ones_(graph.model[0].weight)
    view = filter_view(graph, "0", "fpgm", 0.5)
    assert view.removed == (0, 1, 2)
    assert (view.scene.low, view.scene.high) == (0, 0)
    assert np.isfinite(view.scene.coordinates).all()


def test_a_group_of_two_layers_side_by_side_shows_the_first():
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)
            self.c, self.d = nn.Conv2d(12, 8, 1, groups=2), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            return self.d(self.c(torch.cat([self.a(x), self.b(x)], 1)))

    graph = fl.trace(Side(), torch.randn(1, 3, 4, 4))
    view = filter_view(graph, "a", "l2", 0.5)
    assert len(view.scene) == 6
    assert len(view.scores) == 12
    assert torch.equal(view.scores, fl.score(graph, "l2")["a"])
    assert_array_equal(view.gone, np.isin(np.arange(6), view.removed))


def test_half_precision_and_transposed_layers():
    graph = chain(nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    graph.model.half()
    view = filter_view(graph, "0", "fpgm", 0.25)
    assert view.scene.shape == (3, 3, 3)
    assert len(view.removed) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": "conv9"}, "unknown group 'conv9'"),
        ({"criterion": "fpmg"}, "did you mean 'fpgm'"),
        ({"ratio": 1.0}, "0 <= ratio < 1"),
        ({"group": "fc", "criterion": "bn_gamma"}, "does not apply to group 'fc'"),
    ],
)
def test_bad_input(graph: fl.ChannelGraph, change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        filter_view(**{"graph": graph, "group": "conv1", "criterion": "fpgm", "ratio": 0.3} | change)


def test_nan_weights_name_their_layer_and_leave_other_groups_alone(graph: fl.ChannelGraph):
    with torch.no_grad():
        graph.model.layer1[0].conv1.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"layer 'layer1.0.conv1' has NaN"):
        filter_view(graph, "layer1.0.conv1")
    assert len(filter_view(graph, "layer1.1.conv1").removed) == 5


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((3, 5, 5), (5, 5), "red, green and blue"),
        ((1, 5, 5), (5, 5), "the kernel, blue below"),
        ((8, 3, 3), (3, 3), "mean over the 8 input channels"),
        ((7, 1, 1), (3, 3), "the 7 weights row by row"),
        ((30,), (5, 6), "the 30 weights row by row"),
        ((9000,), (47, 48), "one in 4 of them"),
        ((4, 9), (1, 9), "mean over the 4"),
        ((2, 2, 3, 4), (3, 4), "depth"),
        ((2, 100, 100), (34, 34), "mean over the 2"),
    ],
)
def test_pictures(shape: tuple[int, ...], size: tuple[int, int], words: str):
    filters = np.random.default_rng(0).normal(size=(4, int(np.prod(shape))))
    pictures, says = filter_pictures(filters, shape)
    assert pictures.shape == (4, *size, 4)
    assert pictures.dtype == np.uint8
    assert words in says


def test_pictures_are_blue_below_zero_orange_above_and_empty_where_there_is_no_weight():
    pictures, _ = filter_pictures(np.array([[-1.0, 0.0, 1.0]]), (3,))
    assert pictures[0].reshape(-1, 4).tolist() == [
        [0, 114, 178, 255], [250, 250, 250, 255], [213, 94, 0, 255], [250, 250, 250, 0],
    ]  # fmt: skip


def test_a_head_is_one_point():
    graph = heads()
    scene = filter_scene(graph, "attention.qkv")
    assert (scene.word, scene.filters.tolist(), scene.channels.tolist()) == ("head", [0, 1, 2, 3], [0, 1, 2, 3])
    assert scene.members.tolist() == [filters_of_head(head) for head in range(4)]
    points = graph.model.attention.qkv.weight.detach().double()[torch.tensor(scene.members)].flatten(1).numpy()
    expected = np.sort(cdist(points, points), axis=1)[:, 1:]
    np.testing.assert_allclose(scene.neighbour_distances, expected, rtol=1e-9)
    assert "Each is a head of 6 channels: all 18 filters of attention.qkv that go with it." in scene_notes(graph, scene)
    assert filter_scene(graph, "fc1").word == "filter"

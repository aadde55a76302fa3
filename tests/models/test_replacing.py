"""Replacing convolutions: a new network, its costs as counted, the nearest weights, and files that load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.models.convolutions import DepthwiseSeparable, ShuffledGrouped, kernel_of
from fpgmlab.models.nearest import rank_one
from tests.checks import check_same, random_plan, snapshot

KINDS = ("depthwise_separable", "grouped", "shuffled", "dilated")
X = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return fl.models.resnet20(channels=1, width=0.5).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", ["new", "nearest"])
def test_it_is_a_new_network_of_the_same_shape_and_the_frame_is_what_is_counted(kind: str, weights: str):
    model = resnet()
    before = snapshot(model)
    made = fl.replace_convolutions(model, kind=kind, weights=weights)
    assert snapshot(model) == before
    assert made(X).shape == model(X).shape
    assert not made.training
    frame = fl.replacements(model, made, X)
    assert len(frame) == 18, "all but the first, and the projections of 1x1"
    assert set(frame["kind"]) == {kind}
    costs = [fl.trace(network, X[:1]).cost() for network in (model, made)]
    for count in ("params", "macs"):
        assert (frame[f"{count}_before"] - frame[count]).sum() == getattr(costs[0], count) - getattr(costs[1], count)
    if kind == "depthwise_separable":
        ratio = 1 / frame["outputs"] + 1 / 9
        assert np.allclose(frame["params"] / frame["params_before"], ratio)


@pytest.mark.parametrize("kind", KINDS)
def test_it_saves_loads_prunes_and_trains(kind: str, tmp_path: Path):
    made = fl.replace_convolutions(resnet(), kind=kind, groups=2, where=["layer2", "layer3.0.conv1"])
    graph = fl.trace(made, X)
    small = fl.prune(graph, random_plan(graph))
    assert fl.agreement(graph, random_plan(graph)) <= 1e-5
    for network in (made, small):
        fl.save(network, tmp_path / "made.safetensors")
        check_same(fl.load(tmp_path / "made.safetensors"), network, X)
    again = fl.replace_convolutions(made, kind="grouped", groups=2, where="layer1")
    assert len(fl.provenance(again).options["convolutions"]) == 13
    made.train()(X).sum().backward()
    assert all(p.grad is not None for p in made.parameters())


@pytest.mark.parametrize("shape", [(12, 5, 3, 3), (4, 6, 5, 5), (3, 2, 7, 1)])
def test_the_nearest_of_rank_one_is_numpys(shape: tuple[int, ...]):
    kernel = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    depthwise, pointwise = rank_one(kernel)
    for channel in range(shape[1]):
        matrix = kernel[:, channel].flatten(1).double().numpy()
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        ours = np.outer(pointwise[:, channel, 0, 0], depthwise[channel, 0].flatten())
        np.testing.assert_allclose(ours, values[0] * np.outer(left[:, 0], right[0]), atol=1e-6)


def test_a_kernel_of_rank_one_is_replaced_without_loss():
    torch.manual_seed(0)
    separable = DepthwiseSeparable(8, 12, 3, bias=True)
    plain = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1))
    plain[0].weight.data, plain[0].bias.data = kernel_of(separable).detach(), separable.pointwise.bias.data
    made = fl.replace_convolutions(plain, weights="nearest")
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(made(x), separable(x), rtol=1e-4, atol=1e-5)
    assert fl.replacements(plain, made, x)["kept"].tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("kind", ["depthwise_separable", "grouped", "shuffled"])
def test_no_other_weights_are_nearer(kind: str):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(8, 12, 3))
    made = fl.replace_convolutions(plain, kind=kind, weights="nearest")
    wanted = plain[0].weight.detach()
    distance = (kernel_of(made[0]) - wanted).square().sum()
    gradients = torch.autograd.grad(distance, [p for p in made.parameters() if p.ndim > 1])
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-5
    kept = fl.replacements(plain, made, torch.randn(1, 8, 9, 9))["kept"].item()
    assert kept == pytest.approx(1 - float(distance.detach() / wanted.square().sum()), abs=1e-5)
    assert torch.equal(
        made[0].conv.bias.view(4, 3).T.flatten() if isinstance(made[0], ShuffledGrouped) else [*made.parameters()][-1],
        plain[0].bias,
    )


def test_what_is_shared_foreign_or_not_plain_is_refused_by_name():
    model = nn.Sequential(nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 8, 1), nn.Conv2d(8, 6, 3, groups=2))
    model[1].weight = model[0].weight
    for where, match in {
        "0": "'0' cannot be replaced: it shares its weight: '0', '1'",
        "2": "'2' cannot be replaced: its kernel is 1x1",
        "3": "'3' cannot be replaced: it is grouped already",
        "7": "unknown module '7'",
    }.items():
        with pytest.raises(ValueError, match=match):
            fl.replace_convolutions(model, where=where)
    with pytest.raises(ValueError, match="there is no convolution to replace. '0': it shares"):
        fl.replace_convolutions(model)
    with pytest.raises(ValueError, match=r"'layer1.0.conv1' cannot be replaced: groups must divide .* got 3"):
        fl.replace_convolutions(resnet(), kind="grouped", groups=3)
    with pytest.raises(ValueError, match=r"'conv1' cannot be replaced: groups must divide the channels, 1 in and 8"):
        fl.replace_convolutions(resnet(), kind="shuffled", where="conv1")
    with pytest.raises(ValueError, match="with dilation 2 its kernel of \\(2, 2\\) would give another size"):
        fl.replace_convolutions(nn.Sequential(nn.Conv2d(6, 6, 2)), kind="dilated")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "plain"}, "kind must be one of 'dilated', 'grouped', 'shuffled', 'depthwise_separable'; not 'plain'"),
        ({"weights": "svd"}, "weights must be one of 'new', 'nearest'; not 'svd'"),
        ({"groups": 1}, "groups must be a whole number of at least 2; got 1"),
        ({"dilation": 1.5}, "dilation must be a whole number of at least 2; got 1.5"),
    ],
)
def test_options_out_of_range_are_named(options: dict, match: str):
    with pytest.raises(ValueError, match=match):
        fl.replace_convolutions(resnet(), **options)


def test_groups_that_only_what_is_left_can_bear_are_loaded_with_a_model(tmp_path: Path):
    graph = fl.trace(fl.models.resnet20(channels=1), X)
    plan = fl.Plan.from_ratios(graph, fl.score(graph, "l2"), {"layer1.0.conv1": 0.25, "conv1": 0.25})
    small = fl.prune(graph, plan)  # 12 of 16 channels
    for groups, name in ((2, "resnet20"), (3, None)):
        made = fl.replace_convolutions(small, kind="grouped", groups=groups, where="layer1.0.conv2")
        assert fl.provenance(made).architecture == name
        fl.save(made, tmp_path / "made.safetensors")
        check_same(fl.load(tmp_path / "made.safetensors", None if name else made), made, X)

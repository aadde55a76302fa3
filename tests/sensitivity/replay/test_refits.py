"""Points after repair: the closed form held against least squares by numpy, and every way to run them alike."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in
from fpgmlab.sensitivity.replay import refits as refits_module
from fpgmlab.sensitivity.replay.consumers import holding
from fpgmlab.sensitivity.replay.points import Point, points
from fpgmlab.sensitivity.replay.recording import NotRecordableError
from fpgmlab.sensitivity.replay.refits import Refits
from fpgmlab.sensitivity.replay.replay import replaying
from fpgmlab.sensitivity.replay.runners import Programmed, Replaying, Runner
from tests.networks import NETWORKS, Model, Network, busy


def copied(inputs: object) -> object:
    return tree_map_only(Tensor, Tensor.clone, inputs)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_way_to_run_a_point_gives_what_cutting_the_refitted_network_gives(network: Network):
    model, inputs = network.build(), network.inputs()
    graph = fl.trace(model, inputs)
    grid = points(graph, fl.score(graph, "random"), (0.5,), 1)
    refits = Refits(graph, grid, [copied(inputs)])
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad(), ExitStack() as opened:
        assert refits.read()
        expected = []
        for point in grid:
            with holding(model, refits.tensors(point)):
                cut = fl.prune(graph, point.plan)
            expected.append(list(tensors_in(call(cut.eval(), copied(inputs)))))
        check(Programmed(graph, torch.float32, refits), copied(inputs), grid, expected)
        check(Replaying(graph, opened.enter_context(replaying(model)), refits), copied(inputs), grid, expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def check(runner: Runner, inputs: object, grid: list[Point], expected: list[list[Tensor]]) -> None:
    try:
        runner.record(inputs)
    except NotRecordableError:  # such as with layer norms: they are replayed
        return
    for point, wanted in zip(grid, expected, strict=True):
        for ours, its in zip(tensors_in(runner.run(point)), wanted, strict=True):
            size = float(its.abs().max()) if its.numel() else 0.0
            torch.testing.assert_close(ours, its, rtol=1e-4, atol=2e-5 * size, equal_nan=True)


class Plain(nn.Module):
    """A convolution behind a batch norm, one with a bias, a linear layer with nothing that takes an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 3, bias=False), nn.Conv2d(6, 8, 3, stride=2, bias=False)
        self.norm, self.three = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1, groups=2)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.three(F.relu(self.norm(self.two(F.relu(self.one(x))))))).mean((2, 3)))


@pytest.fixture(scope="module")
def plain() -> fl.ChannelGraph:
    torch.manual_seed(0)
    return fl.trace(busy(Plain()).eval(), torch.zeros(1, 1, 9, 9))


def systems(layer: nn.Module, x: Tensor, stays: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield for each group of a layer what it reads (places, features), its weights, and which features stay."""
    if isinstance(layer, nn.Linear):
        yield x.numpy(), layer.weight.detach().numpy(), stays
        return
    parts = zip(x.chunk(layer.groups, 1), layer.weight.detach().chunk(layer.groups), strict=True)
    for (read, weight), mine in zip(parts, np.split(stays, layer.groups), strict=True):
        rows = F.unfold(read, layer.kernel_size, stride=layer.stride).transpose(1, 2).flatten(0, 1)
        yield rows.numpy(), weight.flatten(1).numpy(), mine.repeat(math.prod(layer.kernel_size))


def by_numpy(a: np.ndarray, w: np.ndarray, stays: np.ndarray, offset: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights that give what all of them gave, and what is to be added."""
    y, s, start = a @ w.T, a[:, stays], w.T[stays]
    da, ds, dy = (m - m.mean(0) if offset else m for m in (a, s, y))
    root = np.sqrt(1e-3 * (da * da).sum(0).mean()) * np.eye(stays.sum())
    solved = np.linalg.lstsq(np.vstack([ds, root]), np.vstack([dy, root @ start]))[0]
    whole = np.zeros_like(w)
    whole[:, stays] = solved.T
    return whole, y.mean(0) - s.mean(0) @ solved


@pytest.mark.parametrize(
    ("group", "consumer", "offset"),
    [("one", "two", "norm.running_mean"), ("two", "three", "three.bias"), ("three", "head", None)],
)
def test_a_refit_is_what_numpy_finds_on_the_same_equations(
    plain: fl.ChannelGraph, group: str, consumer: str, offset: str | None
):
    images, reads = torch.randn(20, 1, 9, 9), {}
    model = plain.model.double()
    handle = model.get_submodule(consumer).register_forward_hook(lambda _, args, out: reads.update(x=args[0]))
    with torch.no_grad():
        model(images.double())
    handle.remove()
    layer, x = copy.deepcopy(model.get_submodule(consumer)), reads["x"]
    plain.model.float()
    (point,) = (p for p in points(plain, fl.score(plain, "random"), (0.5,), 1) if p.group == group)
    refits = Refits(plain, [point], [images])
    assert refits.read()
    found = refits.tensors(point)
    stays = ~np.isin(np.arange(x.shape[1]), point.plan.removed[group])
    solved, moved = zip(*(by_numpy(*one, offset is not None) for one in systems(layer, x, stays)), strict=True)
    got = found[f"{consumer}.weight"].flatten(1).numpy()
    np.testing.assert_allclose(got, np.concatenate(solved), rtol=1e-4, atol=1e-5)
    if offset is None:
        assert set(found) == {f"{consumer}.weight"}
    else:
        sign = -1 if offset.endswith("mean") else 1
        before = plain.model.state_dict()[offset]
        np.testing.assert_allclose((found[offset] - before).numpy(), sign * np.concatenate(moved), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_an_attention_is_refitted_by_what_each_of_its_projections_reads(bias: bool):
    layers = {"embed": nn.Linear(6, 12), "attention": nn.MultiheadAttention(12, 4, bias=bias), "fc": nn.Linear(12, 3)}
    torch.manual_seed(0)
    model = busy(Model(lambda m, x: attended(m, m.embed(x).transpose(0, 1)), layers)).eval()
    x = torch.randn(20, 7, 6)
    graph = fl.trace(model, x[:2])
    point = next(p for p in points(graph, fl.score(graph, "random"), (0.5,), 1) if p.group == "embed")
    refits = Refits(graph, [point], [x])
    assert refits.read()
    found, reads = refits.tensors(point), {}
    handle = model.attention.register_forward_hook(lambda _, args, out: reads.update(enumerate(args)))
    with torch.no_grad():
        model(x)
    handle.remove()
    stays = ~np.isin(np.arange(4), point.plan.removed["embed"]).repeat(3)
    weights = model.attention.in_proj_weight.detach().double().chunk(3)
    each = [by_numpy(flat(reads[part]), weight.numpy(), stays, bias) for part, weight in enumerate(weights)]
    got = found["attention.in_proj_weight"].numpy()
    np.testing.assert_allclose(got, np.concatenate([w for w, _ in each]), rtol=1e-3, atol=1e-5)
    assert ("attention.in_proj_bias" in found) == bias
    if bias:
        moved = (found["attention.in_proj_bias"] - model.attention.in_proj_bias.detach()).numpy()
        np.testing.assert_allclose(moved, np.concatenate([offset for _, offset in each]), rtol=1e-3, atol=1e-4)


def attended(m: nn.Module, x: Tensor) -> Tensor:
    """An attention of three different inputs, positions first."""
    return m.fc(m.attention(x, x.tanh()[:5], x.exp()[:5])[0].mean(0))


def flat(x: Tensor) -> np.ndarray:
    return x.double().flatten(0, 1).numpy()


def test_refits_of_another_ratio_are_those_of_a_sweep_of_it_alone(plain: fl.ChannelGraph):
    images = torch.randn(8, 1, 9, 9)
    grid = points(plain, fl.score(plain, "random"), (0.25, 0.5, 0.75), 1)
    together = Refits(plain, grid, [images])
    assert together.read()
    for point in grid:
        alone = Refits(plain, [point], [images])
        assert alone.read()
        for name, tensor in alone.tensors(point).items():
            torch.testing.assert_close(together.tensors(point)[name], tensor, rtol=1e-4, atol=1e-6)


def test_many_features_behind_a_flattening_are_taken_position_by_position(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    model = busy(nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4, 3))).eval()
    graph, images = fl.trace(model, torch.zeros(1, 1, 4, 4)), torch.randn(30, 1, 4, 4)
    (point,) = points(graph, fl.score(graph, "random"), (0.5,), 1)
    monkeypatch.setattr(refits_module, "WIDE", 10)
    refits = Refits(graph, [point], [images])
    assert refits.read()
    found, stays = refits.tensors(point), ~np.isin(np.arange(6), point.plan.removed["0"])
    with torch.no_grad():
        read = model[:2](images).double().flatten(2).numpy()  # (images, channels, positions)
    weight = model[3].weight.detach().double().unflatten(1, (6, 4)).numpy()
    each = [by_numpy(read[..., i], weight[..., i], stays, offset=True) for i in range(4)]
    expected = np.stack([w for w, _ in each], axis=2).reshape(3, -1)
    np.testing.assert_allclose(found["3.weight"].numpy(), expected, rtol=1e-4, atol=1e-5)
    moved = (found["3.bias"] - model[3].bias.detach()).numpy()
    np.testing.assert_allclose(moved, sum(offset for _, offset in each), rtol=1e-4, atol=1e-5)


def test_moments_that_do_not_fit_take_another_pass(plain: fl.ChannelGraph, monkeypatch: pytest.MonkeyPatch):
    grid, images = points(plain, fl.score(plain, "random"), (0.5,), 1), torch.randn(8, 1, 9, 9)
    once, often = (Refits(plain, grid, [images]) for _ in range(2))
    assert once.read()
    monkeypatch.setattr(refits_module, "MEMORY", 1.0)
    assert often.read()
    for point in grid:
        for name, tensor in once.tensors(point).items():
            assert torch.equal(often.tensors(point)[name], tensor)


def test_reading_can_be_stopped(plain: fl.ChannelGraph):
    grid = points(plain, fl.score(plain), (0.5,), 1)
    refits = Refits(plain, grid, [torch.randn(4, 1, 9, 9)])
    assert not refits.read(lambda: True)
    with pytest.raises(RuntimeError, match="`read` comes before `of`"):
        refits.of(grid[0])

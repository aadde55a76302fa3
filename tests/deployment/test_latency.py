"""Latency tables: the arithmetic on made-up numbers, and that measuring gives numbers of the right shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch import nn

import fpgmlab as fl
from fpgmlab.deployment.runtimes import RUNTIMES, Runtime
from fpgmlab.deployment.runtimes.onnx_runtime import layer_session
from fpgmlab.deployment.tables import Grid
from fpgmlab.deployment.timing import latency_table
from tests.allocation.made import branches, chain, curves_of, loss_of, rising


def stairs(*numbers: int) -> float:
    """Return a made-up latency: it rises by steps of four channels, and each layer has its overhead."""
    return 0.5 + float(np.prod([-(-n // 4) for n in numbers]))


def made_up(graph: fl.ChannelGraph) -> fl.LatencyTable:
    """Return a table over all numbers of channels of every convolution."""
    layers = {layer.name: layer for layer in graph.layers if layer.kind == "conv"}
    grids = {}
    for name, layer in layers.items():
        inputs = (1,) if layer.depthwise else tuple(range(1, len(layer.inputs) + 1))
        outputs = tuple(range(1, len(layer.outputs) + 1))
        grids[name] = Grid(inputs, outputs, tuple(tuple(stairs(i, o) for o in outputs) for i in inputs))
    return fl.LatencyTable(grids, {n: n for n in layers}, dict.fromkeys(layers, 1), "made up", 1)


def test_a_grid_is_bilinear_between_and_flat_outside():
    grid = Grid((8, 16, 32), (4, 8), ((1.0, 2.0), (3.0, 5.0), (4.0, 9.0)))
    oracle = RegularGridInterpolator((grid.inputs, grid.outputs), np.array(grid.ms))
    points = np.random.default_rng(0).uniform((8, 4), (32, 8), (50, 2))
    assert grid.at(*points.T) == pytest.approx(oracle(points))
    assert grid.at(np.array([2, 8, 32]), np.array([1, 8, 8])) == pytest.approx([1, 2, 9])
    assert Grid((7,), (5,), ((2.0,),)).at(np.array([3]), np.array([2])) == 2


def test_the_nearest_bilinear_function_of_one_is_itself():
    inputs, outputs = (2, 5, 9), (1, 4, 6, 8)
    grid = Grid(inputs, outputs, tuple(tuple(1 + 2 * o + 3 * i + 0.5 * i * o for o in outputs) for i in inputs))
    assert grid.bilinear() == pytest.approx(np.array([[1, 2], [3, 0.5]]))


def test_a_plans_latency_is_the_sum_of_its_layers():
    graph = branches()
    table = made_up(graph)
    kept = {"stem": 4, "inner": 3, "side": 5, "join": 4}
    plan = fl.Plan.from_ratios(graph, fl.score(graph), {n: 1 - k / graph[n].channels for n, k in kept.items()})
    assert {n: plan.kept[n] for n in kept} == kept
    # Layers by hand: inputs and outputs of the pruned network; the depthwise one has a single row.
    by_hand = [(1, 4), (4, 3), (3, 4), (4, 5), (1, 5), (9, 4)]
    assert table.latency(graph, plan) == pytest.approx(sum(stairs(*pair) for pair in by_hand))
    whole = [(1, 6), (6, 5), (5, 6), (6, 7), (1, 7), (13, 4)]
    assert table.latency(graph) == pytest.approx(sum(stairs(*pair) for pair in whole))
    often = fl.LatencyTable(table.grids, table.layers, dict.fromkeys(table.calls, 3), "made up", 1)
    assert often.latency(graph, plan) == pytest.approx(3 * table.latency(graph, plan))


def test_the_form_is_the_latency_where_that_is_bilinear():
    graph = chain(6, 9, 5)
    layers = {"0": (1, 6), "2": (6, 9), "4": (9, 5)}
    grids = {
        n: Grid((1, i), (1, o), ((1.0, float(o)), (float(i), float(i * o)))) if i > 1 else Grid((1,), (1, o), ((1, o),))
        for n, (i, o) in layers.items()
    }
    table = fl.LatencyTable(grids, {n: n for n in grids}, dict.fromkeys(grids, 1), "made up", 1)
    kept = np.array([4, 7, 3, 3, 1.0])
    form = table.form(graph)
    assert kept @ form @ kept == pytest.approx(4 + 4 * 7 + 7 * 3)


@pytest.mark.parametrize("budget", [0.85, 0.7, 0.5])
def test_a_budget_of_latency_is_met_and_hardly_missed(budget: float):
    graph = chain(8, 12, 8)
    table, drops = made_up(graph), rising(graph, 1)
    curves = curves_of(graph, drops)
    plan = fl.allocate(graph, curves, latency=budget, table=table, multiple=1)
    whole = table.latency(graph)
    assert table.latency(graph, plan) <= budget * whole
    best = np.inf
    for a in [8, *drops["0"]]:
        for b in [12, *drops["2"]]:
            for c in [8, *drops["4"]]:
                ms = stairs(1, a) + stairs(a, b) + stairs(b, c)
                if ms <= budget * whole:
                    best = min(best, sum(drops[n].get(k, 0.0) for n, k in (("0", a), ("2", b), ("4", c))))
    assert loss_of(graph, curves, plan) <= 1.35 * best


def test_an_unreachable_latency_says_what_can_be_reached():
    graph = chain(8, 12, 8)
    with pytest.raises(ValueError, match=r"latency=0.01 cannot be reached: at least 0.\d+ of the latency"):
        fl.allocate(graph, curves_of(graph, rising(graph, 1)), latency=0.01, table=made_up(graph))


def test_tables_of_other_networks_are_refused():
    table = made_up(chain(8, 12))
    with pytest.raises(ValueError, match="layer '0' has 9 outputs here, 8 in the table"):
        table.latency(chain(9, 12))
    with pytest.raises(ValueError, match="the latency table is of another network: unknown layer '0'"):
        table.latency(branches())


def test_json_both_ways(tmp_path: Path):
    table = made_up(branches())
    table.to_json(tmp_path / "table.json")
    assert fl.LatencyTable.from_json(tmp_path / "table.json") == table
    assert fl.LatencyTable.from_json(table.to_json()) == table
    with pytest.raises(ValueError, match="the text is not a latency table of fpgmlab"):
        fl.LatencyTable.from_json('{"format": "fpgmlab-plan/1"}')
    with pytest.raises(FileNotFoundError):
        fl.LatencyTable.from_json(tmp_path / "none.json")


# Measuring -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_measuring_gives_a_number_for_each_shape_and_point(graph: fl.ChannelGraph, runtime: str):
    threads = torch.get_num_threads()
    table = latency_table(graph, runtime=runtime, counts=2, repeats=2, threads=1)
    assert torch.get_num_threads() == threads
    convolutions = [name for name, module in graph.model.named_modules() if isinstance(module, nn.Conv2d)]
    assert set(table.layers) == {*convolutions, "fc"}
    assert table.layers["layer1.2.conv2"] == "layer1.0.conv1"  # of the same shape
    assert len(table.grids) == 9
    frame = table.frame
    assert frame.columns.tolist() == ["layer", "layers", "inputs", "outputs", "ms"]
    assert frame.groupby("layer", sort=False).first()["layers"].sum() == len(table.layers)
    assert np.isfinite(frame["ms"]).all()
    assert (frame["ms"] > 0).all()
    assert table.grids["layer3.0.conv1"].inputs == (8, 32)
    assert table.grids["layer3.0.conv1"].outputs == (8, 64)
    assert table.grids["conv1"].inputs == (1,)
    assert table.latency(graph) > 0


def test_all_multiples_when_there_are_few(graph: fl.ChannelGraph):
    table = latency_table(graph, counts=8, multiple=16, repeats=1, threads=1)
    assert table.grids["layer3.0.conv1"].inputs == (16, 32)
    assert table.grids["layer3.0.conv1"].outputs == (16, 32, 48, 64)


def test_other_kinds_of_layers_are_measured():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same"), nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(16, 8, 1, groups=2),
        nn.ConvTranspose2d(8, 4, 3, 2, output_padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Flatten(2), nn.Conv1d(4, 4, 3, dilation=2), nn.AdaptiveAvgPool1d(5), nn.Linear(5, 6), nn.Flatten(),
        nn.Linear(24, 2),
    )  # fmt: skip
    graph = fl.trace(model.eval(), torch.randn(1, 3, 8, 8))
    table = latency_table(graph, counts=3, multiple=2, repeats=1, threads=1)
    assert len(table.layers) == len([layer for layer in graph.layers if layer.kind != "tensor"])
    assert table.grids["1"].outputs == (4, 12, 16)
    assert np.isfinite(table.frame["ms"]).all()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, 2, padding=(0, 2)), (2, 4, 9, 8)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (1, 4, 9, 8)),
        (nn.Conv2d(4, 8, 3, groups=4, padding="valid"), (1, 4, 9, 8)),
        (nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2), (1, 4, 5, 5)),
        (nn.Conv1d(4, 6, 3, dilation=2), (1, 4, 9)),
        (nn.Linear(4, 6), (2, 3, 4)),
    ],
)
def test_the_layer_that_is_measured_is_the_layer(layer: nn.Module, shape: tuple[int, ...]):
    example = torch.randn(shape)
    (found,) = layer_session(layer, example, 1).run(None, {"x": example.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(example).detach(), rtol=1e-4, atol=1e-5)


def test_a_runtime_of_ones_own(monkeypatch: pytest.MonkeyPatch):
    class Counting(Runtime):
        made: ClassVar[list[tuple[int, ...]]] = []

        def ready(self, layer: nn.Module, example: torch.Tensor, threads: int | None) -> Callable[[], object]:
            self.made.append(tuple(layer(example).shape))
            return lambda: None

    monkeypatch.setitem(RUNTIMES, "counting", Counting())
    table = latency_table(chain(8, 8), runtime="counting", counts=1, batch=3, repeats=1)
    assert table.runtime == "counting"
    assert set(table.layers) == {"0", "2", "6"}
    assert {shape[0] for shape in Counting.made} == {3}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime": "tensorrt"}, "runtime must be one of 'onnxruntime', 'torch', .*; not 'tensorrt'"),
        ({"counts": 0}, "counts must be a whole number of at least 1; got 0"),
        ({"repeats": 1.5}, "repeats must be a whole number of at least 1; got 1.5"),
    ],
)
def test_bad_requests_are_named(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        latency_table(chain(8, 8), **options)

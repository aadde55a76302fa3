"""Latency tables: the arithmetic on made-up numbers, steps that are found where they are, and real measurements."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.calls import Call, layer_calls, measured_layers
from fpgmlab.deployment.machine import Machine
from fpgmlab.deployment.profiling import known_nodes
from fpgmlab.deployment.runtimes import RUNTIMES, Runtime
from fpgmlab.deployment.runtimes.onnx_runtime import layer_session
from fpgmlab.deployment.staircases.fitting import weights_of
from fpgmlab.deployment.staircases.probing import probe
from fpgmlab.deployment.staircases.steps import Kernel, Steps
from fpgmlab.deployment.staircases.variants import Variants, drawn_plans, write_variant
from tests.allocation.made import branches, chain, curves_of, loss_of, rising
from tests.deployment.tables import by_stairs, made_up, stairs
from tests.own_layers import RULES, OwnLayers


def test_steps_are_flat_within_a_block_and_straight_between_measured_tops():
    steps = Steps(8, (2, 8, 16, 32), (0.1, 1.0, 2.0, 6.0))
    counts = np.array([1, 2, 5, 8, 9, 16, 17, 24, 25, 32, 33, 40])
    wanted = [0.1, 0.1, 0.55, 1, 2, 2, 4, 4, 6, 6, 6 + 8 * 5.9 / 30, 6 + 8 * 5.9 / 30]
    assert steps.at(counts) == pytest.approx(wanted)
    assert Steps(1, (1,), (1.0,)).at(counts) == pytest.approx(np.ones(len(counts)))


def test_features_are_those_of_the_regime():
    line, twice = Steps(1, (1, 2), (1.0, 2.0)), Steps(1, (1, 2), (2.0, 4.0))
    kernel = Kernel((4, 2), (line, line), (twice, twice))
    found = kernel.features(np.array([8, 8, 6]), np.array([6, 5, 6]), np.array([False, True, True]))
    assert found == pytest.approx(
        np.array([
            [1, 8, 6, 48, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 1, 16, 10, 160, 5 / 64],
            [0, 0, 0, 0, 0, 1, 12, 12, 144, 6 / 64],
        ])
    )  # fmt: skip


def test_weights_are_found_again():
    rng = np.random.default_rng(0)
    features, weights = rng.uniform(0, 3, (40, 10)), np.array([0.1, 0, 2, 3, 0, 0, 1, 0.5, 0, 0.2])
    assert weights_of(features, features @ weights) == pytest.approx(weights, abs=1e-9)
    assert (weights_of(features, np.zeros(40)) == 0).all()


def runtime_of(block: int, alignment: tuple[int, int], slow: float = 1.5) -> Callable[..., np.ndarray]:
    """Return what measures a made-up runtime: blocks of outputs, inputs one by one, slow where they are not aligned."""

    def times(call: Call, points: Sequence[tuple[int, int]]) -> np.ndarray:
        noise = np.random.default_rng(len(points)).exponential(0.002, len(points))
        ms = [
            i * math.ceil(o / block) * (1 if i % alignment[0] == 0 and o % alignment[1] == 0 else slow)
            for i, o in points
        ]
        return np.array(ms) * (1 + noise)

    return times


CONV = Call("x", (64, 64, 3, 3), 64, 64, 1, "conv", (3, 3), (1, 1), (1, 1), (14, 14))


@pytest.mark.parametrize(
    ("block", "alignment"), [(16, (4, 1)), (8, (8, 1)), (4, (4, 4)), (32, (1, 1)), (16, (1, 1)), (16, (16, 16))]
)
def test_probing_finds_the_blocks_of_a_runtime(block: int, alignment: tuple[int, int]):
    kernel = probe(CONV, runtime_of(block, alignment), most=256)
    assert kernel.alignment == alignment
    assert kernel.aligned[1].block == max(block, alignment[1])
    counts = np.array([16, 48, 96, 160, 256])
    assert kernel.aligned[1].at(counts) == pytest.approx(np.ceil(counts / block) / np.ceil(64 / block), rel=0.03)
    assert kernel.aligned[0].at(counts) == pytest.approx(counts / 64, rel=0.05)


def test_one_disturbed_count_changes_nothing():
    quiet = runtime_of(16, (4, 1))

    def disturbed(call: Call, points: Sequence[tuple[int, int]]) -> np.ndarray:
        return quiet(call, points) * np.array([3.0 if point in ((64, 40), (52, 64)) else 1.0 for point in points])

    kernel = probe(CONV, disturbed, most=128)
    assert kernel.alignment == (4, 1)
    assert kernel.aligned[1].block == 16


# Plans ---------------------------------------------------------------------------------------------------------------


def test_a_plans_latency_is_the_sum_of_its_layers():
    graph = branches()
    table = by_stairs(graph)
    kept = {"stem": 4, "inner": 3, "side": 5, "join": 4}
    plan = fl.Plan.from_ratios(graph, fl.score(graph), {n: 1 - k / graph[n].channels for n, k in kept.items()})
    assert {n: plan.kept[n] for n in kept} == kept
    # Layers by hand: inputs and outputs of the pruned network; the depthwise one has its channels once.
    by_hand = [(1, 4), (4, 3), (3, 4), (4, 5), (1, 5), (9, 4)]
    assert table.latency(graph, plan) == pytest.approx(sum(stairs(*pair) for pair in by_hand))
    assert sum(table.by_layer(graph, plan).values()) == pytest.approx(table.latency(graph, plan))
    whole = [(1, 6), (6, 5), (5, 6), (6, 7), (1, 7), (13, 4)]
    assert table.latency(graph) == pytest.approx(sum(stairs(*pair) for pair in whole))
    assert table.whole == pytest.approx(table.by_layer(graph))


def test_what_does_not_fit_beside_a_layer_costs_its_misfit():
    graph = branches()
    table = made_up(graph)
    layers = {name: layer for name, layer in table.layers.items() if layer.beside}
    assert layers
    counts = {layer.name: i for i, layer in enumerate(graph.layers)}
    for name, layer in layers.items():
        kept = graph.costs.counts @ graph.costs.vector()
        row = kept.astype(int)[None]
        quick = {
            other: bool(
                table.kernels[table.layers[other].kernel].quick(
                    row[:, 2 * counts[other]], row[:, 2 * counts[other] + 1]
                )[0]
            )
            for other in (*layer.beside, name)
        }
        i, o = row[0, 2 * counts[name]], row[0, 2 * counts[name] + 1]
        misfit = o % layer.layout != 0 or not all(quick[other] for other in layer.beside)
        features = table.kernels[layer.kernel].features(np.array([i]), np.array([o]), np.array([misfit]))[0]
        assert table.by_layer(graph)[name] == pytest.approx(float(features @ np.array(layer.weights)))


def test_the_steps_of_a_layer_are_its_time_on_either_side():
    graph = chain(8, 12, 4)
    table = by_stairs(graph)
    frame = table.steps("2")
    for side, most in (("inputs", 8), ("outputs", 12)):
        part = frame[frame["side"] == side]
        assert part["channels"].tolist() == list(range(1, most + 1))
        other = {"inputs": 12, "outputs": 8}[side]
        assert part["ms"].to_numpy() == pytest.approx([stairs(n, other) for n in range(1, most + 1)])
        assert part["channels"][part["top"]].tolist() == list(range(4, most + 1, 4))
    with pytest.raises(ValueError, match="unknown layer '1'"):
        table.steps("1")


def test_the_form_is_the_latency_where_that_is_bilinear():
    graph = chain(8, 12, 4)
    table = by_stairs(graph)
    form = table.form(graph)
    for kept in ((8, 12, 4, 4, 1.0), (4, 8, 4, 4, 1.0)):
        z = np.array(kept)
        exact = sum(stairs(*pair) for pair in ((1, int(z[0])), (int(z[0]), int(z[1])), (int(z[1]), int(z[2]))))
        assert z @ form @ z == pytest.approx(exact)


@pytest.mark.parametrize("budget", [0.85, 0.7, 0.5])
def test_a_budget_of_latency_is_met_and_hardly_missed(budget: float):
    graph = chain(8, 12, 8)
    table, drops = by_stairs(graph), rising(graph, 1)
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
    assert loss_of(graph, curves, plan) <= 1.05 * best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [branches, lambda: chain(32, 48, 64, 32)])
def test_a_plan_by_milliseconds_is_never_worse_than_one_by_macs_in_its_time(make: Callable, seed: int):
    graph = make()
    table, curves = by_stairs(graph), curves_of(graph, rising(graph, seed))
    for macs in (0.9, 0.75, 0.6):
        for multiple in (1, 4):
            by_macs = fl.allocate(graph, curves, macs=macs, multiple=multiple)
            share = table.latency(graph, by_macs) / table.latency(graph)
            plan = fl.allocate(graph, curves, latency=min(1.0, share + 1e-9), table=table)
            assert loss_of(graph, curves, plan) <= loss_of(graph, curves, by_macs) + 1e-9


def test_a_larger_budget_of_latency_never_predicts_worse():
    graph = branches()
    table, curves = by_stairs(graph), curves_of(graph, rising(graph, 3))
    losses = [
        loss_of(graph, curves, fl.allocate(graph, curves, latency=budget, table=table))
        for budget in np.linspace(0.6, 1, 15)
    ]
    assert (np.diff(losses) <= 1e-12).all()


def test_an_unreachable_latency_says_what_can_be_reached():
    graph = chain(8, 12, 8)
    with pytest.raises(ValueError, match=r"latency=0.01 cannot be reached: at least 0.\d+ of the latency"):
        fl.allocate(graph, curves_of(graph, rising(graph, 1)), latency=0.01, table=by_stairs(graph), multiple=8)


def test_tables_of_other_networks_are_refused():
    table = by_stairs(chain(8, 12))
    with pytest.raises(ValueError, match="layer '0' has 9 outputs here, 8 in the table"):
        table.latency(chain(9, 12))
    with pytest.raises(ValueError, match="the latency table is of another network: unknown layer '0'"):
        table.latency(branches())


def test_json_both_ways(tmp_path: Path):
    table = made_up(branches())
    table.to_json(tmp_path / "table.json")
    assert fl.LatencyTable.from_json(tmp_path / "table.json") == table
    assert fl.LatencyTable.from_json(table.to_json()) == table
    with pytest.raises(ValueError, match="the text is not a latency table of this fpgmlab"):
        fl.LatencyTable.from_json('{"format": "fpgmlab-plan/1"}')
    with pytest.raises(FileNotFoundError):
        fl.LatencyTable.from_json(tmp_path / "none.json")


def test_a_table_of_another_machine_is_named():
    graph = chain(8, 12, 8)
    table = by_stairs(graph)
    elsewhere = replace(table, machine=replace(table.machine, processor="another"))
    with pytest.warns(UserWarning, match="measured elsewhere: processor 'another' there"):
        fl.allocate(graph, curves_of(graph, rising(graph, 1)), latency=0.9, table=elsewhere, multiple=8)


@pytest.mark.parametrize("error", [0.05, 0.466])
def test_a_table_that_is_far_off_is_told(error: float):
    graph = chain(8, 12, 8)
    table = replace(by_stairs(graph), error=error)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fl.allocate(graph, curves_of(graph, rising(graph, 1)), latency=0.9, table=table, multiple=8)
    said = [str(one.message) for one in told]
    assert len(said) == (error > 0.2)
    assert all(text.startswith("the latency table is off by ± 46.6% for the networks") for text in said)


# Measuring -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "dtype"), [("onnxruntime", "float32"), ("onnxruntime", "int8"), ("torch", "float32")]
)
def test_measuring_gives_a_staircase_for_each_layer(graph: fl.ChannelGraph, runtime: str, dtype: str):
    threads, state = torch.get_num_threads(), {k: v.clone() for k, v in graph.model.state_dict().items()}
    table = fl.latency_table(graph, runtime=runtime, dtype=dtype, variants=8, rounds=2, threads=1, progress=False)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, state[key]) for key, value in graph.model.state_dict().items())
    convolutions = [name for name, module in graph.model.named_modules() if isinstance(module, nn.Conv2d)]
    assert set(table.layers) == {*convolutions, "fc"}
    assert (table.machine.runtime, table.dtype, table.batch) == (runtime, dtype, 1)
    assert table.machine.unlike(Machine.here(runtime, 1)) is None
    assert table.layers["layer1.0.conv2"].beside == ("conv1", "layer1.1.conv2", "layer1.2.conv2")
    frame = table.frame
    assert frame["ms"].sum() + table.overhead == pytest.approx(table.latency(graph))
    assert (frame["ms"] >= 0).all()
    assert frame["ms"].sum() > 0
    half = fl.Plan.uniform(
        graph, fl.score(graph, "l1"), 0.5, multiple=16
    )  # how much quicker, a busy machine cannot say
    assert math.isfinite(table.latency(graph, half))
    assert sum(table.by_layer(graph, half).values()) + table.overhead == pytest.approx(table.latency(graph, half))


def test_the_layers_of_a_network_are_found_in_its_profile(graph: fl.ChannelGraph, tmp_path: Path):
    variants = Variants.of(graph, 1, "float32", tmp_path, 1, 3)
    for plan in drawn_plans(graph, 3, 0):
        calls, profile = variants.time(plan)
        small = fl.prune(graph, plan)
        assert [(c.inputs, c.outputs) for c in calls if c.kind == "conv"] == [
            (m.in_channels, m.out_channels) for m in small.modules() if isinstance(m, nn.Conv2d)
        ]
        assert set(profile.layers) == {call.name for call in calls}
        assert all(ms > 0 for ms in profile.layers.values())
        assert sum(profile.layers.values()) + profile.rest == pytest.approx(profile.total)


def test_a_node_belongs_to_the_layer_whose_weights_it_has(tmp_path: Path):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32),
    ).eval()  # fmt: skip
    example = torch.randn(1, 3, 10, 10)
    write_variant(model, Arguments.of(example), tmp_path / "model.onnx")
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    known = known_nodes(tmp_path / "model.onnx", layer_calls(model, names, example))
    graph = onnx.load(tmp_path / "model.onnx").graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        _, layer = known[node.name]
        if node.op_type in {"Conv", "Gemm"}:
            found[layer] = weights[node.input[1]]
        else:  # what follows belongs to the layer before it
            assert layer == list(found)[-1]
    assert list(found) == names
    for name, weight in found.items():
        assert np.array_equal(weight, model.get_submodule(name).weight.detach().numpy())


def test_a_layer_called_twice_has_the_time_of_both():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.again(self.again(self.first(x)).relu()))

    graph = fl.trace(Twice().eval(), torch.randn(1, 3, 12, 12))
    assert [call.name for call in layer_calls(graph.model, measured_layers(graph), graph.example_input)] == [
        "first", "again", "again", "last",
    ]  # fmt: skip
    for runtime in ("onnxruntime", "torch"):
        table = fl.latency_table(graph, runtime=runtime, variants=3, rounds=1, threads=1, progress=False)
        assert set(table.layers) == {"first", "again", "last"}


def test_other_kinds_of_layers_are_measured():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same"), nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(16, 8, 1, groups=2),
        nn.ConvTranspose2d(8, 4, 3, 2, output_padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Flatten(2), nn.Conv1d(4, 4, 3, dilation=2), nn.AdaptiveAvgPool1d(5), nn.Linear(5, 6), nn.Flatten(),
        nn.Linear(24, 2),
    )  # fmt: skip
    graph = fl.trace(model.eval(), torch.randn(1, 3, 8, 8))
    for runtime in ("onnxruntime", "torch"):
        table = fl.latency_table(graph, runtime=runtime, variants=3, rounds=1, threads=1, progress=False)
        # The linear layer over positions, "8", takes each channel by itself: it counts to what it follows.
        assert list(table.layers) == ["0", "1", "2", "3", "4", "6", "10"]
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
    table = fl.latency_table(chain(8, 8), runtime="counting", batch=3, variants=2, rounds=1, progress=False)
    assert table.runtime == "counting"
    assert set(table.layers) == {"0", "2", "6"}
    assert {shape[0] for shape in Counting.made} == {3}
    assert math.isnan(table.error)  # it runs single layers only


def test_a_table_is_kept_and_not_used_for_something_else(graph: fl.ChannelGraph, tmp_path: Path):
    path, options = tmp_path / "table.json", {"variants": 2, "rounds": 1, "threads": 1, "progress": False}
    first = fl.latency_table(graph, path=path, **options)
    assert fl.latency_table(graph, path=path, **options) == first
    with pytest.raises(ValueError, match=r"holds a latency table of something else: batch 1 there, 8 here"):
        fl.latency_table(graph, path=path, batch=8, **options)
    with pytest.raises(ValueError, match=r"runtime 'onnxruntime' there, 'torch' here"):
        fl.latency_table(graph, path=path, runtime="torch", **options)
    with pytest.raises(ValueError, match="of another network"):
        fl.latency_table(chain(8, 8), path=path, **options)
    elsewhere = first.to_json().replace(first.machine.processor, "another processor")
    path.write_text(elsewhere)
    with pytest.raises(ValueError, match="processor 'another processor' there"):
        fl.latency_table(graph, path=path, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime": "tensorrt"}, "runtime must be one of 'onnxruntime', 'torch'"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'int8'; not 'float16'"),
        ({"dtype": "int8", "runtime": "torch"}, "dtype='int8' is measured in 'onnxruntime' only; not in 'torch'"),
        ({"runtime": "executorch"}, "'executorch' runs whole networks only; a latency table takes 'onnxruntime'"),
        ({"variants": 1}, "variants must be a whole number of at least 2; got 1"),
        ({"rounds": 1.5}, "rounds must be a whole number of at least 1; got 1.5"),
        ({"threads": 1000}, r"threads must be at most the \d+ processors that this process may use; got 1000"),
    ],
)
def test_bad_requests_are_named(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        fl.latency_table(chain(8, 8), **options)


def test_networks_are_no_files():
    with pytest.raises(TypeError, match=r"ONNX files .*got for 'whole' the network \(Conv2d\).*fl\.benchmark"):
        fl.latency({"whole": nn.Conv2d(3, 4, 1), "small": "small.onnx"}, torch.zeros(1, 3, 8, 8))


def test_layers_whose_time_no_table_tells_are_named():
    own = fl.trace(OwnLayers().eval(), torch.zeros(1, 1, 28, 28), layers=RULES)
    attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    options = {"variants": 2, "rounds": 1, "runtime": "torch", "progress": False}
    for graph, named in (
        (own, "'first', 'second', 'low', 'hidden' have no time"),
        (fl.trace(attention, torch.zeros(1, 5, 16)), "'self_attn' have no time"),
    ):
        with pytest.warns(UserWarning, match=named):
            table = fl.latency_table(graph, **options)
        assert not set(table.layers) & {"first", "second", "low", "hidden", "self_attn"}


def test_a_table_is_shown_in_a_line(graph: fl.ChannelGraph):
    table = fl.latency_table(graph, variants=2, rounds=1, threads=1, progress=False)
    assert repr(table).startswith(f"LatencyTable of {len(table.layers)} layers, float32, in onnxruntime on ")
    assert len(repr(table)) < 200

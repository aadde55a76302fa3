"""The sweep held against really pruned models, and its intervals against what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import tqdm.auto
from torch import nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.sensitivity.curves.curves import COLUMNS
from fpgmlab.sensitivity.curves.intervals import Paired, kl_divergence
from tests.sensitivity.small import run, same, small_graph, small_task

QUIET = {"progress": False}


@pytest.fixture
def learnt(tiny: nn.Module, task: fl.tasks.Classification) -> fl.ChannelGraph:
    fl.fit(tiny, task, 2, lr=0.05, batch_size=32, progress=False)
    return fl.trace(tiny, task.example_input)


def check_against_surgery(graph: fl.ChannelGraph, task: fl.tasks.Classification, count: int) -> None:
    scores = fl.score(graph, "random")
    curves = fl.sweep(graph, scores, task, ratios=(0.3, 0.7), max_samples=count, batch_size=7, **QUIET)
    assert list(curves.frame.columns) == COLUMNS
    assert curves.complete
    free = [name for name, group in graph.items() if group.protected is None]
    assert list(dict.fromkeys(curves.frame["group"])) == free
    for (group, kept), point in curves.frame.groupby(["group", "kept"]):
        plan = fl.Plan.from_ratios(graph, scores, {group: 1 - kept / graph[group].channels})
        assert plan.kept[group] == kept
        expected = fl.evaluate(fl.prune(graph, plan), task, max_samples=count)
        values = point.set_index("metric")["value"]
        assert values["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
        assert values["loss"] == pytest.approx(expected["loss"], rel=1e-4, abs=1e-4)
        assert (point["samples"] == count).all()


def test_every_point_is_what_the_pruned_network_gives(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    before = {name: (id(p), p.stride(), p.detach().clone()) for name, p in learnt.model.named_parameters()}
    modes = [module.training for module in learnt.model.modules()]
    check_against_surgery(learnt, task, 50)
    for name, parameter in learnt.model.named_parameters():
        identity, stride, value = before[name]
        assert (id(parameter), parameter.stride()) == (identity, stride)
        assert torch.equal(parameter, value)
    assert [module.training for module in learnt.model.modules()] == modes


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("efficientnet_b0", "regnet_y_400mf")]


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", *SLOW])
def test_points_of_real_networks_are_what_the_pruned_ones_give(name: str):
    import torchvision

    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(num_classes=5).eval()
    data = TensorDataset(torch.randn(6, 3, 48, 48), torch.arange(6) % 5)
    graph = fl.trace(model, torch.randn(1, 3, 48, 48))
    free = [n for n, g in graph.items() if g.protected is None]
    graph = fl.trace(model, torch.randn(1, 3, 48, 48), protect=[n for n in free if n not in free[:: len(free) // 4]])
    check_against_surgery(graph, fl.tasks.Classification(data, data, classes=5), 6)


def test_metrics_without_labels(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    names = ["agreement", "kl", "change"]
    scores = fl.score(learnt)
    curves = fl.sweep(learnt, scores, task, ratios=(0.5,), metrics=names, max_samples=40, **QUIET)
    assert curves.base == {"agreement": 1, "kl": 0, "change": 0}
    images = next(task.val_batches(40))[0]
    for (group, kept), point in curves.frame.groupby(["group", "kept"]):
        plan = fl.Plan.from_ratios(learnt, scores, {group: 1 - kept / learnt[group].channels})
        with torch.no_grad():
            whole, cut = learnt.model.eval()(images), fl.prune(learnt, plan).eval()(images)
        values = point.set_index("metric")["value"]
        assert values["agreement"] == pytest.approx(float((whole.argmax(1) == cut.argmax(1)).double().mean()))
        expected = nn.functional.kl_div(
            cut.log_softmax(1), whole.log_softmax(1), reduction="batchmean", log_target=True
        )
        assert values["kl"] == pytest.approx(float(expected), abs=1e-5)
        assert values["change"] == pytest.approx(float((whole - cut).square().mean()), rel=1e-3, abs=1e-6)


def test_curves_exist_after_every_batch_and_sharpen(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    seen: list[fl.Curves] = []
    scores = fl.score(learnt)
    fl.sweep(learnt, scores, task, ratios=(0.5,), batch_size=30, on_update=seen.append, **QUIET)
    assert [int(c.frame["samples"].max()) for c in seen] == [30, 60, 90]
    assert [c.complete for c in seen] == [False, False, True]
    widths = [(c.frame["high"] - c.frame["low"])[c.frame["ratio"] > 0].mean() for c in seen]
    assert widths[0] > widths[2]
    for curves in seen:
        assert (curves.frame["low"] <= curves.frame["value"]).all()
        assert (curves.frame["value"] <= curves.frame["high"]).all()


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("calls", [0, 1, 5, 30])
def test_stopping_leaves_whole_batches(learnt: fl.ChannelGraph, task: fl.tasks.Classification, calls: int):
    scores = fl.score(learnt)
    curves = fl.sweep(learnt, scores, task, ratios=(0.5,), batch_size=30, stop=stop_after(calls), **QUIET)
    assert not curves.complete
    samples = curves.frame["samples"].unique().tolist()
    assert len(samples) <= 1
    if samples:
        whole = fl.sweep(learnt, scores, task, ratios=(0.5,), batch_size=30, max_samples=samples[0], **QUIET)
        assert curves.frame.equals(whole.frame)


def test_ctrl_c_keeps_what_was_finished(learnt: fl.ChannelGraph, task: fl.tasks.Classification, caplog):
    def interrupt(curves: fl.Curves) -> None:
        raise KeyboardInterrupt

    curves = fl.sweep(learnt, fl.score(learnt), task, ratios=(0.5,), batch_size=30, on_update=interrupt, **QUIET)
    assert not curves.complete
    assert curves.frame["samples"].unique().tolist() == [30]
    assert "Ctrl-C: the sweep ends after 30 of 90 examples, of which its curves are." in caplog.text
    assert all("forward" not in vars(module) for module in learnt.model.modules())


def test_ctrl_c_before_the_first_batch_leaves_no_curves(learnt: fl.ChannelGraph, task: fl.tasks.Classification, caplog):
    def interrupt() -> bool:
        raise KeyboardInterrupt

    curves = fl.sweep(learnt, fl.score(learnt), task, ratios=(0.5,), batch_size=30, stop=interrupt, **QUIET)
    assert not curves.complete
    assert "the sweep ends after 0 of 90 examples, before the first batch: there are no curves yet." in caplog.text


def test_the_bar_moves_within_a_batch(learnt: fl.ChannelGraph, task: fl.tasks.Classification, monkeypatch):
    seen: list[tuple[float, float]] = []

    class Bar(tqdm.auto.tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            moved = super().update(n)
            seen.append((self.n, self.total))
            return moved

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    options = {"ratios": (0.25, 0.5), "max_samples": 60, "batch_size": 30, "metrics": ["loss"]}
    curves = fl.sweep(learnt, fl.score(learnt), task, **options)
    points = int((curves.frame["ratio"] > 0).sum())
    answers = [n for n, _ in seen]
    assert {total for _, total in seen} == {60 * points}
    assert (
        sorted(set(answers)) == answers[:points] + answers[points + 1 : -1] == [30 * (i + 1) for i in range(2 * points)]
    )


def test_points_end_when_their_interval_is_narrow_enough(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores, options = fl.score(learnt), {"ratios": (0.1, 0.9), "batch_size": 10, "metrics": ["accuracy"]}
    curves = fl.sweep(learnt, scores, task, tolerance=0.12, **options, **QUIET)
    points = curves.frame[curves.frame["ratio"] > 0]
    assert points["samples"].min() < points["samples"].max()
    early = points[points["samples"] < 90]
    # What is cut off at 0 or 1 is narrower than the interval itself.
    assert ((early["high"] - early["low"]) / 2 <= 0.12 / 1.15).all()
    # What ended early is told by its difference, on the samples it has seen, to the unpruned network on all.
    for row in early.itertuples():
        sums = curves.sums[row.group, row.kept, "accuracy"]
        expected = curves.base["accuracy"] + (sums.value - sums.base) / sums.samples
        assert row.value == pytest.approx(min(1.0, expected))
    loose = fl.sweep(learnt, scores, task, tolerance=1.0, **options, **QUIET)
    assert loose.complete
    assert loose.frame["samples"].unique().tolist() == [10]


def test_batches_are_cut_to_fit_into_memory(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores, options = fl.score(learnt), {"ratios": (0.5,), "max_samples": 20, **QUIET}
    seen: list[fl.Curves] = []
    cut = fl.sweep(learnt, scores, task, memory=1.0, on_update=seen.append, **options)
    assert len(seen) == 20  # one by one
    whole = fl.sweep(learnt, scores, task, **options)
    assert cut.frame["value"].to_numpy() == pytest.approx(whole.frame["value"].to_numpy(), abs=1e-5)


def test_sweeps_over_parts_of_the_data_are_joined(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores, images = fl.score(learnt), task.val.tensors
    halves = [TensorDataset(*(t[part] for t in images)) for part in (slice(0, 40), slice(40, 90))]
    tasks = [fl.tasks.Classification(task.train, half, classes=3) for half in halves]
    parts = [fl.sweep(learnt, scores, t, ratios=(0.3, 0.6), **QUIET) for t in tasks]
    whole = fl.sweep(learnt, scores, task, ratios=(0.3, 0.6), **QUIET)
    joined = parts[0].merge(parts[1])
    assert joined.complete
    assert joined.frame.drop(columns=["value", "low", "high"]).equals(
        whole.frame.drop(columns=["value", "low", "high"])
    )
    for column in ("value", "low", "high"):
        assert joined.frame[column].to_numpy() == pytest.approx(whole.frame[column].to_numpy(), abs=1e-5)
    assert parts[0].frame["samples"].unique().tolist() == [40]  # left as it was


def test_sweeps_of_other_grids_do_not_join(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores, options = fl.score(learnt), {"max_samples": 5, **QUIET}
    one = fl.sweep(learnt, scores, task, ratios=(0.3,), **options)
    with pytest.raises(ValueError, match="do not have the same points: only one has"):
        one.merge(fl.sweep(learnt, scores, task, ratios=(0.6,), **options))
    with pytest.raises(ValueError, match="do not have the same points"):
        one.merge(fl.sweep(learnt, scores, task, ratios=(0.3,), metrics=["kl"], **options))


def test_groups_that_change_nothing_are_flagged(task: fl.tasks.Classification):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model[2].weight.zero_()  # nothing of the first group gets through
    graph = fl.trace(model, task.example_input)
    curves = fl.sweep(graph, fl.score(graph), task, ratios=(0.5,), max_samples=20, **QUIET)
    assert curves.unmeasurable == ("0",)


def test_ratios_that_leave_the_same_channels_are_one_point(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    curves = fl.sweep(learnt, fl.score(learnt), task, ratios=(0.5, 0.51, 0.01), max_samples=10, **QUIET)
    first = curves.frame[curves.frame["group"] == "conv1"]
    assert first[first["metric"] == "loss"]["kept"].tolist() == [4, 2]


def test_the_ratio_0_is_the_unpruned_network(untrained: fl.ChannelGraph, tmp_path: Path):
    assert same(run(untrained, tmp_path, ratios=(0.5, 0, 0.25)), run(untrained, None, ratios=(0.25, 0.5)))
    assert run(untrained, tmp_path, ratios=(0.25, 0.5)).complete  # is the same sweep


def test_a_processor_that_bfloat16_makes_slower_is_told(
    learnt: fl.ChannelGraph, task: fl.tasks.Classification, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.warns(UserWarning, match='no quick kernels for torch.bfloat16 .* dtype="float32" is quicker here'):
        fl.sweep(learnt, fl.score(learnt, "l2"), task, ratios=[0.5], max_samples=8, dtype="bfloat16", progress=False)


def test_bfloat16_stays_close(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores, options = fl.score(learnt), {"ratios": (0.5,), "max_samples": 60, "metrics": ["loss"], **QUIET}
    one, two = (fl.sweep(learnt, scores, task, dtype=d, **options).frame["value"] for d in ("float32", "bfloat16"))
    assert not one.equals(two)
    assert (one - two).abs().max() < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratios": ()}, "ratios must be numbers with 0 <= ratio < 1, at least one of them > 0; got \\[\\]"),
        ({"ratios": (0.5, 1.0)}, "0 <= ratio < 1"),
        ({"ratios": (0.5, -0.1)}, "0 <= ratio < 1"),
        ({"ratios": (0, 0.0)}, "at least one of them > 0; got \\[0, 0.0\\]"),
        ({"recalibrate": -1}, "recalibrate must be a whole number of at least 0; got -1"),
        ({"recalibrate": True}, "recalibrate must be a whole number of at least 0; got True"),
        ({"metrics": ["acuracy"]}, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"metrics": []}, "metrics must be at least one"),
        ({"memory": 0}, "memory must be a number of bytes > 0; got 0"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'bfloat16'; not 'float16'"),
        ({"max_samples": 0}, "max_samples must be a whole number of at least 1; got 0"),
        ({"max_samples": -3}, "max_samples must be a whole number of at least 1; got -3"),
        ({"max_samples": 10.0}, "max_samples must be a whole number of at least 1; got 10.0"),
        ({"max_samples": True}, "max_samples must be a whole number of at least 1; got True"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"tolerance": 0}, "tolerance must be None or > 0, in the unit of the first metric; got 0"),
        ({"tolerance": math.nan}, "tolerance must be None or > 0"),
    ],
)
def test_bad_requests_are_named(untrained: fl.ChannelGraph, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        run(untrained, None, **options)


@pytest.fixture(scope="module")
def untrained() -> fl.ChannelGraph:
    return small_graph()


def test_more_samples_than_there_are_is_all_of_them(untrained: fl.ChannelGraph):
    assert same(run(untrained, None, max_samples=10**6), run(untrained, None))


class Odd(fl.tasks.Classification):
    """Has a loss that is a mean only."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().loss(outputs, targets)


class Unlabelled(fl.tasks.Classification):
    """Has pictures only."""

    def val_batches(self, batch_size: int = 256, max_samples: int | None = None):
        for images, _ in super().val_batches(batch_size, max_samples):
            yield images, None


class NoData:
    """Has nothing to validate with."""

    val = ()


def test_a_metric_that_the_task_cannot_give_is_refused_before_measuring(untrained: fl.ChannelGraph):
    task = small_task()
    cases = [
        (Odd, "loss", "reduction"),
        (Unlabelled, "accuracy", "takes labels, one tensor"),
        (Unlabelled, "loss", "NoneType"),
    ]
    for kind, name, why in cases:
        bad = kind(task.train, task.val, classes=3)
        words = rf"{kind.__name__} cannot give the metric '{name}': .*{why}.*metrics=\['agreement', 'kl', 'change'\]"
        with pytest.raises(ValueError, match=words):
            run(untrained, None, task=bad, metrics=[name])
        assert run(untrained, None, task=bad, metrics=["agreement", "kl", "change"]).complete
    with pytest.raises(ValueError, match=r"NoData has no validation data \(task.val\)"):
        run(untrained, None, task=NoData())


# Intervals -----------------------------------------------------------------------------------------------------------


def test_pairing_is_what_makes_small_drops_visible():
    generator = torch.Generator().manual_seed(0)
    base = (torch.rand(400, generator=generator) < 0.7).float()
    pruned = base.clone()
    pruned[:20] = 0  # twenty answers lost, none won
    value, low, high = Paired.of(pruned, base).interval(binary=True)
    unpaired = 1.96 * math.sqrt(float(pruned.mean() * (1 - pruned.mean())) / 400)
    assert low <= value <= high
    assert high - low < unpaired


@pytest.mark.parametrize(("lost", "won"), [(0.05, 0.02), (0.01, 0.01), (0.3, 0.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(lost: float, won: float):
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(400):
        draw = torch.rand(300, generator=generator)
        base = (torch.rand(300, generator=generator) < 0.8).float()
        pruned = torch.where(draw < lost, 0.0, torch.where(draw > 1 - won, 1.0, base))
        sums = Paired.of(pruned, base)
        _, low, high = sums.interval(binary=True)
        truth = float(base.mean()) - 0.8 * lost + 0.2 * won  # of the drop, at this sample's base
        hits += low <= truth <= high
    assert hits / 400 > 0.92


def test_no_difference_in_a_few_samples_is_not_certainty():
    same = torch.ones(10)
    value, low, high = Paired.of(same, same).interval(binary=True)
    assert (value, high) == (1, 1)
    assert low < 0.95
    assert Paired.of(same[:1], same[:1]).interval(binary=False)[1] == -math.inf


def test_sums_add_up():
    a, b = torch.randn(50), torch.randn(50)
    parts = Paired.of(a[:20], b[:20]) + Paired.of(a[20:], b[20:])
    whole = Paired.of(a, b)
    assert parts.interval(False) == pytest.approx(whole.interval(False))


def test_kl_is_torchs():
    one, two = torch.randn(4, 5), torch.randn(4, 5)
    found = kl_divergence(one, two)
    expected = nn.functional.kl_div(one.log_softmax(1), two.log_softmax(1), reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(found, expected)

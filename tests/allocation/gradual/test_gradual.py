"""Gradual pruning: budgets, what happens between two cuts, which channels are left, what is refused."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.allocation.gradual.schedules import remaining
from tests.allocation.gradual.made import network, same, task
from tests.checks import check_cost, snapshot

QUICK = {"progress": False, "multiple": 1}


def gradually(model: nn.Module | None = None, **options: Any) -> tuple[nn.Module, Any]:
    between = options.pop("between", [])
    return fl.prune_gradually(model or network(), task(), between=between, **({"target": 0.5} | QUICK | options))


def test_the_schedules_are_their_closed_forms():
    cubic, linear = remaining("cubic", 0.4, 5), remaining("linear", 0.4, 5)
    for t in range(1, 6):
        final, initial = 1 - 0.4, 0.0  # eq. 1 of Zhu & Gupta, with t0 = 0 and n * dt = 5
        assert cubic[t - 1] == pytest.approx(1 - (final + (initial - final) * (1 - t / 5) ** 3), abs=1e-15)
        assert linear[t - 1] == pytest.approx(1 - 0.6 * t / 5, abs=1e-15)
    assert cubic[-1] == linear[-1] == remaining("cubic", 0.4, 1)[0] == 0.4


@pytest.mark.parametrize("criterion", ["fpgm", fl.criteria.L2(), "random"])
def test_one_step_with_nothing_between_is_a_uniform_plan(criterion: object):
    model = network()
    graph = fl.trace(model, task().example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph, criterion), macs=0.5, multiple=1)
    small, history = gradually(model, steps=1, criterion=criterion)
    assert fl.provenance(small).plans == (plan,)
    assert same(small, fl.prune(graph, plan))
    assert list(history["stage"]) == ["unpruned", "as cut"]


@pytest.mark.parametrize("target", [0.4, {"params": 0.4}, {"bytes": 0.4}])
@pytest.mark.parametrize("schedule", ["cubic", "linear"])
def test_every_step_meets_its_budget_and_the_last_says_which_channels_stay(target: Any, schedule: str):
    model = network()
    graph, before = fl.trace(model, task().example_input), snapshot(model)
    kind = "macs" if target == 0.4 else next(iter(target))
    small, history = gradually(model, target=target, schedule=schedule, steps=4)
    assert snapshot(model) == before
    (plan,) = fl.provenance(small).plans
    assert same(small, fl.prune(graph, plan))  # nothing between: the same channels, cut out at once
    assert plan.kept == fl.Plan.uniform(graph, fl.score(graph), **{kind: 0.4}, multiple=1).kept
    check_cost(graph, plan, small)
    assert list(history["step"]) == [0, 1, 2, 3, 4]
    assert list(history["budget"])[1:] == pytest.approx(remaining(schedule, 0.4, 4))
    if kind != "bytes":
        assert (history[kind] <= history["budget"]).all()
        assert history[kind].iloc[-1] == getattr(graph.cost(plan), kind) / getattr(graph.cost(), kind)
    assert history["macs"].is_monotonic_decreasing
    assert history["channels"].iloc[-1] == sum(plan.kept.values())
    figures = fl.evaluate(small, task())
    assert history[["loss", "accuracy"]].iloc[-1].to_dict() == {n: figures[n] for n in ("loss", "accuracy")}


def test_each_step_scores_what_the_steps_before_have_made():
    """Weights that change between the cuts change what goes: the scores of a step are those of its own network."""
    seen = []

    def upside_down(graph: fl.ChannelGraph, plan: fl.Plan, small: nn.Module, given: object) -> None:
        seen.append((graph, plan, small))
        with torch.no_grad():
            small.conv3.weight *= torch.linspace(3, 1, len(small.conv3.weight))[:, None, None, None]

    small, history = gradually(criterion="l2", between=[upside_down], steps=3)
    assert len(seen) == 3
    assert list(history["stage"]) == ["unpruned", *["as cut", "upside_down"] * 3]
    for graph, plan, cut in seen:
        wanted = fl.score(graph, "l2")["conv3"].argsort(stable=True)[: len(plan.removed["conv3"])]
        assert plan.removed["conv3"] == tuple(sorted(wanted.tolist()))
        assert len(cut.conv3.weight) == plan.kept["conv3"]
    assert seen[1][0].model is seen[0][2]
    assert seen[2][2] is small


def test_repair_after_the_first_cut_is_repair():
    model = network()
    graph = fl.trace(model, task().example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph), macs=0.5, multiple=1)
    wanted = fl.repair(graph, plan, task(), samples=32, progress=False)
    for towards in ("step", "whole"):
        small, _ = gradually(model, steps=1, between=[fl.Repair(samples=32, towards=towards)])
        assert same(small, wanted)
        assert fl.provenance(small).repaired == (True,)


@pytest.mark.parametrize("towards", ["step", "whole"])
def test_what_is_repaired_step_by_step_is_nearer_to_what_was(towards: str):
    model, images = network(), torch.randn(64, 1, 8, 8)

    def error(small: nn.Module) -> float:
        with torch.no_grad():
            return float((small(images) - model(images)).square().mean() / model(images).var())

    given = {"target": 0.6, "steps": 3}
    cut, (small, _) = (
        gradually(model, **given)[0],
        gradually(model, between=[fl.Repair(samples=32, towards=towards)], **given),
    )
    assert error(small) < 0.6 * error(cut)


def test_training_between_the_cuts_is_fit():
    model = network()
    graph = fl.trace(model, task().example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph), macs=0.5, multiple=1)
    wanted = fl.prune(graph, plan)
    options = {"lr": 0.01, "seed": 3, "batch_size": 16, "keep": "last"}  # so short a training may make it worse
    fl.fit(wanted, task(), 2, **options, progress=False)
    small, history = gradually(model, steps=1, between=[fl.Fit(epochs=2, **options)])
    assert same(small, wanted)
    assert list(history["stage"]) == ["unpruned", "as cut", "recovered"]


def test_the_functions_stand_for_themselves():
    _, history = gradually(steps=1, between=[fl.recalibrate, fl.fit, fl.Fit])
    assert list(history["stage"])[2:] == ["recalibrated", "recovered", "recovered"]


@pytest.mark.parametrize(("made", "function"), [(fl.Fit(), fl.fit), (fl.Repair(), fl.repair)])
def test_options_are_those_of_the_function(made: object, function: Any):
    theirs = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    ours = {field.name: field.default for field in fields(made) if field.name != "towards"}
    assert ours == {name: theirs[name] for name in ours}
    left = {
        "model",
        "graph",
        "plan",
        "task",
        "path",
        "checkpoint",
        "stop",
        "progress",
        "on_epoch",
        "on_step",
        "on_layer",
    }
    assert set(theirs) - set(ours) <= left


def test_what_was_pruned_before_keeps_its_plans():
    model = network()
    graph = fl.trace(model, task().example_input)
    first = fl.Plan.uniform(graph, fl.score(graph), 0.25, multiple=1)
    again = fl.prune(graph, first)
    small, _ = gradually(again, steps=2)
    plans = fl.provenance(small).plans
    assert plans[0] == first
    assert len(plans) == 2
    assert same(small, fl.prune(fl.trace(again, task().example_input), plans[1]))


def test_allocated_at_each_step():
    options = {"ratios": (0.25, 0.5, 0.75), "batch_size": 6}
    small, history = gradually(steps=2, allocate=True, sweep=options, target=0.6)
    assert (history["macs"] <= history["budget"]).all()
    (plan,) = fl.provenance(small).plans
    graph = fl.trace(network(), task().example_input)
    assert same(small, fl.prune(graph, plan))
    once, _ = gradually(steps=1, allocate=True, sweep=options, target=0.6)
    curves = fl.sweep(graph, fl.score(graph), task(), **options, progress=False)
    assert fl.provenance(once).plans == (fl.allocate(graph, curves, macs=0.6, multiple=1),)


def test_a_step_whose_budget_is_met_cuts_and_repairs_nothing():
    model = network()
    small, history = gradually(model, multiple=8, steps=6, target=0.45, between=[fl.Repair(samples=32)])
    cut = history[history["stage"] == "as cut"].set_index("step")
    assert cut["macs"].nunique() < 6
    same_again = history[(history["stage"] == "repaired") & (history["step"].diff() == 0)]
    assert len(same_again) == 6
    assert fl.provenance(small).repaired == (True,)


def test_on_step_sees_the_history_grow_and_stop_ends_it():
    seen = []
    _, history = gradually(steps=3, on_step=lambda frame: seen.append(len(frame)))
    assert seen == [1, 2, 3, 4]
    assert not history.attrs["interrupted"]
    training = fl.Fit(batch_size=16)
    early, part = gradually(steps=3, between=[training], stop=iter([False] * 3 + [True]).__next__)
    assert part.attrs["interrupted"]
    assert list(part["step"]) == [0, 1, 1]
    assert same(early, gradually(steps=3, between=[training], stop=None, on_step=stop_after(1))[0])


@pytest.mark.parametrize("options", [{"between": [fl.Repair(samples=32)]}, {"allocate": True}], ids=["repair", "sweep"])
def test_stopped_within_a_step_it_is_what_it_was_before(options: dict):
    model, asked = network(), []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 1

    small, history = gradually(model, stop=stop, **options)
    assert len(asked) == 2
    assert history.attrs["interrupted"]
    assert list(history["stage"]) == ["unpruned"]
    assert same(small, model)
    assert small is not model


def stop_after(step: int) -> Any:
    def on_step(frame: Any) -> None:
        if frame["step"].iloc[-1] == step:
            raise KeyboardInterrupt

    return on_step


def test_bad_input_is_told():
    for options, words in (
        ({"target": 1}, "0 < target < 1; got 1"),
        ({"target": {"mac": 0.5}}, "unknown budget 'mac': did you mean 'macs'"),
        ({"target": {"macs": 0.5, "params": 0.5}}, "target must be one budget, such as 0.5"),
        ({"target": 0.001}, r"macs=0.001 cannot be reached: at least 0\.\d+ of the macs remain"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"schedule": "cubed"}, "schedule must be one of 'cubic', 'linear'; not 'cubed'"),
        ({"criterion": "fpmg"}, "unknown criterion 'fpmg': did you mean 'fpgm'"),
        ({"protect": ["conv9"]}, "protect: unknown group 'conv9'"),
        ({"sweep": {"ratios": (0.5,)}}, "sweep=.* is for allocate=True"),
        ({"sweep": {"ratio": (0.5,)}, "allocate": True}, "sweep: unknown option 'ratio': did you mean 'ratios'"),
        ({"between": [fl.Repair(towards="first")]}, "towards must be one of 'step', 'whole'; not 'first'"),
        ({"between": [fl.Repair(targets="none")]}, "targets must be one of"),
        ({"between": [fl.Repair(samples=32), fl.Fit(epochs=0)]}, "epochs must be a whole number of at least 1; got 0"),
    ):
        with pytest.raises(ValueError, match=words):
            gradually(**options)
    for between, words in (
        (["repair"], r"between\[0\] must be fl.Repair\(...\), fl.Fit\(...\) or a function .*; got 'repair'"),
        (fl.repair, "between must be a list"),
        (fl.Repair(), "between must be a list"),
        ([lambda *_: 3], "must return a network, or None; it returned 3"),
    ):
        with pytest.raises(TypeError, match=words):
            gradually(between=between)


def test_a_task_that_lacks_something_is_told_before_anything_is_cut():
    with pytest.raises(ValueError, match="example"):
        fl.prune_gradually(network(), replace(task(), train=[]), target=0.5, progress=False)
    bare = type("Bare", (), {"metric_name": "accuracy"})()
    with pytest.raises(ValueError, match="Bare has no example_input to trace with: pass example_input="):
        fl.prune_gradually(network(), bare, target=0.5)

"""Predicted against measured: the joint drops are those of really pruned networks."""

from __future__ import annotations

import pytest
import torch

import fpgmlab as fl
from fpgmlab.allocation.additivity import COLUMNS


@pytest.fixture
def learnt(tiny: torch.nn.Module, task: fl.tasks.Classification) -> fl.ChannelGraph:
    fl.fit(tiny, task, 2, lr=0.05, batch_size=32, progress=False)
    return fl.trace(tiny, task.example_input)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_rows_are_the_groups_pruned_so_far(learnt: fl.ChannelGraph, task: fl.tasks.Classification, metric: str):
    scores = fl.score(learnt)
    curves = fl.sweep(learnt, scores, task, ratios=(0.25, 0.5, 0.75), max_samples=60, progress=False)
    plan = fl.allocate(learnt, curves, macs=0.5, multiple=1, metric=metric)
    table = fl.additivity(learnt, curves, plan, task, metric=metric, batch_size=25)
    assert table.columns.tolist() == COLUMNS
    assert table["group"].tolist() == [name for name in learnt if plan.removed[name]]
    assert len(table) > 3
    assert (table["samples"] == 60).all()  # those of the curves
    assert table["predicted_so_far"].tolist() == pytest.approx(table["predicted"].cumsum().tolist())
    known = fl.allocation.predicted(learnt, curves, plan, metric).set_index("group")["predicted"]
    assert table.set_index("group")["predicted"].equals(known[table["group"]])
    whole = fl.evaluate(learnt.model, task, max_samples=60)[metric]
    for i, row in table.iterrows():
        names = table["group"][: i + 1]
        part = fl.Plan(plan.widths, {name: plan.removed[name] for name in names})
        joint = fl.evaluate(fl.prune(learnt, part), task, max_samples=60)[metric]
        worse = whole - joint if metric == "accuracy" else joint - whole
        assert row["measured_so_far"] == pytest.approx(worse, abs=1e-5)
        assert row["low"] - 1e-9 <= row["measured_so_far"] <= row["high"] + 1e-9
        assert row["low"] < row["high"]
        assert row["kept"] == plan.kept[row["group"]]


def test_repaired_curves_are_held_against_repaired_networks(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores, few = fl.score(learnt), {"repair_samples": 64}
    options = {"ratios": (0.25, 0.5), "max_samples": 60, "progress": False, "metrics": ["kl"]}
    curves = fl.sweep(learnt, scores, task, repair=True, **few, **options)
    plan = fl.Plan.from_ratios(learnt, scores, {"layer1.0.conv1": 0.5, "layer2.0.conv2": 0.5})
    table = fl.additivity(learnt, curves, plan, task, **few)
    assert table["repaired"].all()
    small = fl.repair(learnt, plan, task, samples=64, progress=False)
    images = next(task.val_batches(60))[0]
    with torch.no_grad():
        whole, mended = learnt.model.eval()(images), small.eval()(images)
    divergence = torch.nn.functional.kl_div(
        mended.log_softmax(1), whole.log_softmax(1), reduction="batchmean", log_target=True
    )
    assert table["measured_so_far"].iloc[-1] == pytest.approx(float(divergence), abs=1e-5)
    as_cut = fl.additivity(learnt, curves, plan, task, repair=False)
    assert not as_cut["repaired"].any()
    assert as_cut["measured_so_far"].iloc[-1] > table["measured_so_far"].iloc[-1]


def test_one_group_alone_is_what_its_curve_says(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores = fl.score(learnt)
    curves = fl.sweep(learnt, scores, task, ratios=(0.5,), metrics=["kl"], max_samples=40, progress=False)
    plan = fl.Plan.from_ratios(learnt, scores, {"layer2.0.conv2": 0.5})
    table = fl.additivity(learnt, curves, plan, task)
    assert len(table) == 1
    assert table.loc[0, "measured_so_far"] == pytest.approx(table.loc[0, "predicted"], rel=1e-3)
    assert fl.additivity(learnt, curves, plan, task, max_samples=10).loc[0, "samples"] == 10


def test_a_plan_that_removes_nothing_has_no_rows(learnt: fl.ChannelGraph, task: fl.tasks.Classification):
    scores = fl.score(learnt)
    curves = fl.sweep(learnt, scores, task, ratios=(0.5,), max_samples=10, progress=False)
    table = fl.additivity(learnt, curves, fl.Plan.uniform(learnt, scores, 0.0, multiple=1), task)
    assert table.empty
    assert table.columns.tolist() == COLUMNS
    with pytest.raises(ValueError, match="the fewest that were measured"):
        fl.additivity(learnt, curves, fl.Plan.uniform(learnt, scores, 0.9, multiple=1), task)
    with pytest.raises(ValueError, match="unknown metric 'kl'"):
        fl.additivity(learnt, curves, fl.Plan.uniform(learnt, scores, 0.1, multiple=1), task, metric="kl")

"""Criteria compared after repair: against pruning, repairing and measuring each by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.allocation.comparison import COLUMNS
from tests.networks import busy

SAMPLES, BUDGETS = 96, (0.8, 0.5)
BACKWARD = fl.criteria.Custom(lambda filters: -filters.norm(dim=1), name="backward")


@pytest.fixture
def small(task: fl.tasks.Classification) -> fl.ChannelGraph:
    """A small network that has learnt the task."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    fl.fit(busy(model), task, 2, lr=0.05, progress=False)
    return fl.trace(model, task.example_input)


def test_each_row_is_what_one_finds_by_hand(small: fl.ChannelGraph, task: fl.tasks.Classification):
    before = [p.clone() for p in small.model.parameters()]
    frame = fl.compare_criteria(
        small, ["fpgm", BACKWARD, "random"], repaired=True, task=task, macs=BUDGETS, seeds=[3, 5], samples=SAMPLES,
        progress=False,
    )  # fmt: skip
    assert list(frame.columns) == COLUMNS
    assert list(zip(frame["macs"], frame["criterion"], strict=True)) == [
        (macs, label) for macs in BUDGETS for label in ("FPGM", "backward", "Random")
    ]
    by_hand: dict[tuple[str, float], list[float]] = {}
    for label, rule in (("FPGM", "fpgm"), ("backward", BACKWARD), ("Random", "random")):
        for macs in BUDGETS:
            kept, cut, repaired = [], [], []
            for seed in (3, 5):
                plan = fl.Plan.uniform(small, fl.score(small, rule, seed=seed), macs=macs, multiple=1)
                kept.append(small.cost(plan).macs / small.cost().macs)
                cut.append(fl.evaluate(fl.prune(small, plan), task)["accuracy"])
                network = fl.repair(small, plan, task, samples=SAMPLES, seed=seed, progress=False)
                repaired.append(fl.evaluate(network, task)["accuracy"])
            by_hand[label, macs] = repaired
            (row,) = frame[(frame["criterion"] == label) & (frame["macs"] == macs)].to_dict("records")
            found = [row[name] for name in ("macs_kept", "as_cut", "repaired")]
            # Batches of another size sum in another order: a picture may change sides.
            assert found == pytest.approx([sum(each) / 2 for each in (kept, cut, repaired)], abs=1 / 90)
            assert row["unpruned"] == pytest.approx(fl.evaluate(small.model, task)["accuracy"], abs=1 / 90)
            assert row["low"] <= row["repaired"] <= row["high"]
            assert (row["metric"], row["samples"], row["seeds"]) == ("accuracy", 90, 2)
    for row in frame[frame["criterion"] != "FPGM"].itertuples():
        gap = sum(by_hand[row.criterion, row.macs]) / 2 - sum(by_hand["FPGM", row.macs]) / 2
        assert row.beside == pytest.approx(gap, abs=2 / 90)
        assert row.noise == (row.beside_low <= 0 <= row.beside_high)
    assert frame[frame["criterion"] == "FPGM"][["beside", "beside_low", "beside_high", "noise"]].isna().all(axis=None)
    assert all(torch.equal(a, b) for a, b in zip(before, small.model.parameters(), strict=True))


def test_options_reach_what_they_are_for(small: fl.ChannelGraph, task: fl.tasks.Classification):
    frame = fl.compare_criteria(
        small, ["l2", "l1"], repaired=True, task=task, macs=0.6, seeds=1, samples=64, max_samples=50, metric="loss",
        multiple=4, progress=False,
    )  # fmt: skip
    assert frame["metric"].unique().tolist() == ["loss"]
    assert frame["samples"].unique().tolist() == [50]
    plan = fl.Plan.uniform(small, fl.score(small, "l2"), macs=0.6, multiple=4)
    network = fl.repair(small, plan, task, samples=64, progress=False)
    assert frame["repaired"][0] == pytest.approx(fl.evaluate(network, task, max_samples=50)["loss"], rel=1e-4)
    assert set(plan.kept.values()) <= {3, 4, 8}


def test_a_metric_that_is_no_mean_over_pictures_will_do(small: fl.ChannelGraph, task: fl.tasks.Classification):
    from torchmetrics.classification import MulticlassF1Score

    task = replace(task, metrics={"f1": lambda: MulticlassF1Score(3)})
    frame = fl.compare_criteria(
        small, ["l2", "random"], repaired=True, task=task, macs=0.6, seeds=2, samples=64, metric="f1", progress=False
    )
    plan = fl.Plan.uniform(small, fl.score(small, "l2"), macs=0.6, multiple=1)
    found = []
    for seed in (0, 1):
        network, f1 = fl.repair(small, plan, task, samples=64, seed=seed, progress=False), MulticlassF1Score(3)
        for inputs, targets in task.val_batches(90):
            f1.update(network.eval()(inputs), targets)
        found.append(float(f1.compute()))
    assert frame["repaired"][0] == pytest.approx(sum(found) / 2, abs=0.02)
    assert frame["noise"].tolist()[1:] in ([True], [False])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"task": None}, ValueError, "repaired=True needs a task"),
        ({"repaired": False}, ValueError, "a task is looked at with repaired=True only"),
        ({"macs": 1.5}, ValueError, "0 < macs <= 1, each once; got 1.5"),
        ({"macs": []}, ValueError, r"each once; got \[\]"),
        ({"seeds": 0}, ValueError, "seeds must be a whole number of at least 1; got 0"),
        ({"seeds": [1, 1]}, ValueError, r"seeds must be at least one, each once; got \[1, 1\]"),
        ({"metric": "acuracy"}, ValueError, "'accuracy'"),
        ({"criteria": ["fpgm"]}, ValueError, "at least two, each with a label of its own"),
        ({"source": {"a": torch.randn(8, 3)}}, TypeError, "needs a graph, as fpgmlab.trace gives it; got dict"),
    ],
)
def test_what_is_asked_wrongly_is_named(
    small: fl.ChannelGraph, task: fl.tasks.Classification, change: dict, error: type[Exception], words: str
):
    given = {"source": small, "criteria": ["fpgm", "l2"], "repaired": True, "task": task, "progress": False} | change
    with pytest.raises(error, match=words):
        fl.compare_criteria(given.pop("source"), given.pop("criteria"), **given)

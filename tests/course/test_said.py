"""What chapters say in words of the stored studies is so in their numbers."""

from __future__ import annotations

import pandas as pd
import pytest

import fpgmlab as fl


@pytest.fixture(scope="module")
def over_fpgm() -> pd.DataFrame:
    """Points over FPGM after repair, a row for each network, budget and criterion."""
    networks = fl.studies.load("reconstruction")["networks"]
    rows = [
        {"network": network, "budget": float(budget), "criterion": criterion} | found["over_fpgm"]
        for network, part in networks.items()
        for criterion, budgets in part["after_repair"].items()
        for budget, found in budgets.items()
    ]
    return pd.DataFrame(rows).set_index(["criterion", "network", "budget"]).sort_index()


def test_chapter_1_the_norm_is_as_good_as_fpgm_where_it_should_fail(over_fpgm: pd.DataFrame):
    norm = over_fpgm.loc["l2"]
    assert (norm["mean"].abs() < 1 / 3).all(), "less than a third of a point"
    assert (norm["mean"] > 0).any()
    assert (norm["mean"] < 0).any(), "on either side"
    assert ((norm["low"] <= 0) & (norm["high"] >= 0)).mean() > 0.5, "most often with zero in the interval"


def test_chapter_1_criteria_are_not_all_the_same(over_fpgm: pd.DataFrame):
    random, looks = (over_fpgm.loc[criterion, "mean"] for criterion in ("random", "reconstruction"))
    assert random.between(-2.25, -0.35).all()
    for _, network in random.groupby("network"):
        assert network.droplevel("network").sort_index().is_monotonic_increasing, "the more the deeper the cut"
    assert looks.between(0.15, 1.05).all()


def test_chapter_1_no_layer_has_what_the_norm_criterion_asks_for():
    graph = fl.trace(fl.models.load("resnet20-fashion"), fl.tasks.fashion_mnist().example_input)
    weights = {name: graph.model.get_submodule(name).weight.detach() for name in graph}
    norms = fl.criteria.norms_and_distances(weights)
    by_layer = norms.groupby("layer")["norm"].agg(["mean", "std", "min"])
    assert not ((by_layer["std"] / by_layer["mean"] >= 0.4) & (by_layer["min"] / by_layer["mean"] <= 0.25)).any()


def test_chapter_10_repair_begins_where_short_trainings_end():
    study = fl.studies.frame("recovery").query("criterion == 'reconstruction' and pictures == 55_000")
    study = study[study["macs"].eq(study["network"].map({"resnet20-fashion": 0.5, "vgg16-fashion": 0.35}))]
    study = study.assign(points=100 * (study["test"] - study["unpruned"]))
    repaired = study[study["way"] == "repair"].groupby("network")["points"].mean()
    assert repaired.between(-1.25, -0.5).all(), "within about a point"
    after = study[study["epochs"] == 3].pivot_table(index="network", columns="way", values="points")
    assert (after["trained"] > repaired).all(), "a little above where the repaired one began"
    assert (after["trained"] < repaired + 0.5).all()
    trained = after[["trained", "repair, trained", "repair, distilled"]]
    assert (trained.max(axis=1) - trained.min(axis=1) < 0.7).all(), "within about half a point"


def test_chapter_10_the_same_ratio_everywhere_is_as_good_on_one_network_and_behind_on_the_other():
    stored = fl.studies.load("repair")["classifiers"]
    repaired = {name: found["repaired"]["mean"] for name, found in stored.items() if "repaired" in found}
    ahead = {}  # points of the allocated plan over the uniform one
    for network, budgets in (("resnet20-fashion", (70, 50, 35)), ("vgg16-fashion", (50, 35, 25))):
        for budget in budgets:
            ways = (repaired[f"{network}, {budget}%, {how}, reconstruction"] for how in ("allocated", "uniform"))
            ahead[network, budget] = 100 * (next(ways) - next(ways))
    for budget in (70, 50, 35):
        assert abs(ahead.pop(("resnet20-fashion", budget))) <= 0.17, "within a sixth of a point"
    assert all(0.3 < points < 0.7 for points in ahead.values()), "a third to two thirds of a point"

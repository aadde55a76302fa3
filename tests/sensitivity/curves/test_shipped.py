"""The sweeps that ship: of the shipped networks, and what measuring anew gives."""

from __future__ import annotations

import pytest
import torch

import fpgmlab as fl
from fpgmlab.sensitivity.curves.shipped import available


@pytest.fixture(scope="module")
def held() -> fl.tasks.Classification:
    return fl.tasks.fashion_mnist(holdout=5000)


@pytest.mark.parametrize("repaired", [False, True])
def test_each_is_of_its_network_and_its_scores(repaired: bool):
    assert available(repaired) == ["resnet20-fashion", "vgg16-fashion"]
    for name in available(repaired):
        curves = fl.sensitivity.shipped(name, repaired)
        assert curves.repaired == repaired
        graph = fl.trace(fl.models.load(name), torch.randn(1, 1, 28, 28))
        assert curves.complete
        assert list(curves.base) == ["accuracy", "loss", "agreement"]
        assert dict(curves.widths) == {n: g.channels for n, g in graph.items() if g.protected is None}
        assert set(curves.frame["samples"]) == {5_000}
        scores = fl.score(graph, "fpgm")
        for group, score in curves.scores.items():
            torch.testing.assert_close(score, scores[group], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1500, pytest.param(5_000, marks=pytest.mark.slow)])
def test_a_point_is_what_the_pruned_network_measures(count: int, held: fl.tasks.Classification, graph: fl.ChannelGraph):
    curves = fl.sensitivity.shipped("resnet20-fashion")
    frame = curves.frame.query("group == 'layer2.1.conv1' and kept == 16").set_index("metric")["value"]
    plan = fl.Plan.from_ratios(graph, curves.scores, {"layer2.1.conv1": 0.5})
    found = fl.evaluate(fl.prune(graph, plan), held.subset(val=count))
    whole = count == 5_000  # a part is like the whole within three standard errors
    assert found["accuracy"] == pytest.approx(frame["accuracy"], abs=3e-4 if whole else 0.03)
    assert found["loss"] == pytest.approx(frame["loss"], rel=1e-3 if whole else 0.25)


def test_a_repaired_point_is_what_measuring_it_gives(held: fl.tasks.Classification, graph: fl.ChannelGraph):
    curves = fl.sensitivity.shipped("resnet20-fashion", repaired=True)
    one = fl.trace(graph.model, graph.example_input, protect=[name for name in graph if name != "layer2.1.conv1"])
    found = fl.sweep(one, curves.scores, held, ratios=(0.5,), max_samples=1000, repair=True, progress=False).frame
    before = curves.frame.query("group == 'layer2.1.conv1' and kept == 16").set_index("metric")["value"]
    now = found.query("kept == 16").set_index("metric")[
        "value"
    ]  # a part is like the whole within three standard errors
    assert now["accuracy"] == pytest.approx(before["accuracy"], abs=0.03)
    assert now["loss"] == pytest.approx(before["loss"], rel=0.25)


def test_repaired_networks_lose_less():
    for name in available(repaired=True):
        plain, repaired = (
            fl.sensitivity.shipped(name, each)
            .frame.query("metric == 'accuracy' and ratio > 0")
            .set_index(["group", "kept"])
            for each in (False, True)
        )
        assert (repaired["value"] > plain["value"] - 0.005).all()
        assert repaired["value"].mean() > plain["value"].mean() + 0.05


def test_a_notebook_shows_a_few_rows():
    page = fl.sensitivity.shipped("resnet20-fashion")._repr_html_()
    assert page.startswith("<p>Curves of 12 groups")
    assert page.count("<tr") <= 14


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown sweep 'resnet20-fashon': did you mean 'resnet20-fashion'"):
        fl.sensitivity.shipped("resnet20-fashon")

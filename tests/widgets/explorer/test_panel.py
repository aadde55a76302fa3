"""`FilterExplorer` in process: state in, state out."""

from __future__ import annotations

import threading

import pytest
import torch
import traitlets
from torch import nn

import fpgmlab as fl
from fpgmlab.criteria import FPGM, NAMED, Custom
from fpgmlab.widgets import FilterExplorer


@pytest.fixture
def explorer(graph: fl.ChannelGraph) -> FilterExplorer:
    return FilterExplorer(graph, group="layer1.0.conv1")


def expected(explorer: FilterExplorer) -> tuple[int, ...]:
    scores = fl.score(explorer.graph, explorer.criterion)
    return fl.Plan.from_ratios(explorer.graph, scores, {explorer.group: explorer.ratio}).removed[explorer.group]


def drawn(explorer: FilterExplorer) -> tuple[int, ...]:
    gone = explorer.marks["gone"]
    return tuple(i for i, byte in enumerate(gone) if byte)


def test_starts_at_the_first_group_that_may_be_pruned(graph: fl.ChannelGraph):
    explorer = FilterExplorer(graph)
    assert (explorer.group, explorer.criterion, explorer.ratio, explorer.selected) == ("conv1", "fpgm", 0.3, None)


def test_ratio_group_and_criterion_take_effect(explorer: FilterExplorer):
    for group in ("layer1.0.conv1", "layer2.0.conv1"):
        explorer.group = group
        for criterion in NAMED:
            explorer.criterion = criterion
            for ratio in (0, 0.5, 0.97):
                explorer.ratio = ratio
                assert explorer.removed == expected(explorer) == drawn(explorer)
                assert explorer.plan.removed[group] == explorer.removed
                assert sum(map(len, explorer.plan.removed.values())) == len(explorer.removed)
                assert torch.equal(explorer.scores, fl.score(explorer.graph, criterion)[group])


def test_the_controls_and_the_state_are_one(explorer: FilterExplorer):
    explorer.ratio = 0.5
    assert explorer.get_state()["ratio"] == 0.5
    explorer.set_state({"ratio": 0.25})
    assert explorer.removed == expected(explorer) == drawn(explorer)
    explorer.set_state({"group": "layer3.0.conv1"})
    assert explorer.group == explorer.view.scene.group == "layer3.0.conv1"
    for place, name in enumerate(NAMED):
        explorer.set_state({"rule": place})
        assert explorer.criterion == name
        assert explorer.removed == expected(explorer) == drawn(explorer)
        explorer.criterion = "l1"
        assert explorer.rule == list(NAMED).index("l1")
    explorer.set_state({"rule": 99})  # of an object that is gone
    assert explorer.criterion == "l1"


def test_a_ratio_between_the_sliders_steps_is_kept(explorer: FilterExplorer):
    explorer.ratio = 1 / 3
    assert explorer.ratio == 1 / 3
    explorer.ratio = 0.995
    assert explorer.ratio == 0.995


def test_what_there_is_to_choose_from_is_said_in_words(explorer: FilterExplorer):
    groups = explorer.choices["groups"]
    assert [group["name"] for group in groups] == list(explorer.graph)
    assert groups[-1] == {"name": "fc", "channels": 10, "protected": True}
    assert len(set(explorer.choices["criteria"])) == len(NAMED)


def test_a_criterion_object_is_chosen_and_listed(explorer: FilterExplorer):
    rule = FPGM(distance="cosine")
    explorer.criterion = rule
    assert explorer.choices["criteria"][explorer.rule] == rule.label
    assert explorer.removed == expected(explorer)
    explorer.criterion = "l2"
    assert len(explorer.choices["criteria"]) == len(NAMED)


def test_selection_and_neighbours(explorer: FilterExplorer):
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "selected")
    assert len(explorer.neighbours()) == 16 * 5
    explorer.selected = 3
    assert explorer.place == 3
    near = explorer.neighbours()
    assert list(near.columns) == ["filter", "neighbour", "distance", "score", "removed"]
    assert set(near["filter"]) == {3}
    assert near["distance"].is_monotonic_increasing
    assert set(near.loc[near["removed"], "neighbour"]) <= set(explorer.removed)
    explorer.set_state({"place": 5})  # a click
    assert explorer.selected == 5
    explorer.ratio = 0.6
    assert explorer.selected == 5
    explorer.group = "conv1"  # filter 5 of another layer is another filter
    assert explorer.selected is None
    assert seen == [3, 5, None]


def test_a_click_that_comes_too_late_selects_nothing(explorer: FilterExplorer):
    explorer.set_state({"place": 99})
    assert (explorer.selected, explorer.place) == (None, None)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("group", "layer9", "unknown group 'layer9'.*'conv1'"),
        ("group", 3, "expected a unicode string"),
        ("criterion", "fpmg", "did you mean 'fpgm'"),
        ("criterion", 7, "criterion must be one of 'fpgm'"),
        ("ratio", 1.0, "0 <= ratio < 1; got 1.0"),
        ("ratio", -0.1, "0 <= ratio < 1"),
        ("ratio", float("nan"), "0 <= ratio < 1"),
        ("ratio", "much", "expected a float"),
        ("selected", 16, r"0 to 15\); got 16"),
        ("selected", -1, r"0 to 15\); got -1"),
    ],
)
def test_wrong_values_name_the_allowed_ones_and_change_nothing(
    explorer: FilterExplorer, name: str, value: object, message: str
):
    explorer.selected = 2
    before = (explorer.group, explorer.criterion, explorer.ratio, explorer.selected, explorer.removed)
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(explorer, name, value)
    assert (explorer.group, explorer.criterion, explorer.ratio, explorer.selected, explorer.removed) == before
    if name != "selected":
        with pytest.raises(traitlets.TraitError, match=message):
            FilterExplorer(explorer.graph, **{name: value})


def test_protected_groups_are_looked_at_with_the_reason(explorer: FilterExplorer):
    explorer.group = "fc"
    assert explorer.removed == ()
    assert explorer.graph["fc"].protected in explorer.words["notes"][0]
    explorer.ratio = 0.8
    assert explorer.removed == ()
    explorer.group = "conv1"
    assert len(explorer.removed) == 13


def refuse(filters: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("criterion", "message"), [("bn_gamma", "'BNGamma' does not apply to group '0'"), (Custom(refuse), "not today")]
)
def test_what_does_not_apply_is_said_in_words_and_the_picture_goes(criterion: object, message: str):
    graph = fl.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)), torch.randn(1, 3, 8, 8))
    explorer = FilterExplorer(graph)
    explorer.selected = 1
    explorer.criterion = criterion
    assert message in explorer.message
    assert message in explorer.words["message"]
    assert (explorer.scene, explorer.marks, explorer.selected, explorer.view) == ({}, {}, None, None)
    for look in (lambda: explorer.scores, lambda: explorer.removed, lambda: explorer.plan, explorer.neighbours):
        with pytest.raises(ValueError, match=message):
            look()
    with pytest.raises(traitlets.TraitError, match="no filter is shown"):
        explorer.selected = 1
    explorer.criterion = "l2"
    assert explorer.message == ""
    assert explorer.removed == expected(explorer) == drawn(explorer)


def test_nan_weights_are_said_in_words(graph: fl.ChannelGraph):
    with torch.no_grad():
        graph.model.conv1.weight[0] = torch.nan
    explorer = FilterExplorer(graph)
    assert "layer 'conv1' has NaN" in explorer.message
    explorer.group = "layer1.0.conv1"
    assert explorer.message == ""


def test_refresh_looks_at_the_weights_again(explorer: FilterExplorer):
    before = explorer.scores
    with torch.no_grad():
        explorer.graph.model.layer1[0].conv1.weight.mul_(2)
    explorer.refresh()
    assert torch.allclose(explorer.scores, 2 * before)


def test_many_threads_end_in_one_state(explorer: FilterExplorer):
    def slide(start: int) -> None:
        for step in range(40):
            ratio = ((7 * step + start) % 90) / 100
            if step % 3:
                explorer.set_state({"ratio": ratio})
            else:
                explorer.ratio = ratio
            if step % 10 == 0:
                explorer.group = ("layer1.0.conv1", "layer2.0.conv1")[(start + step // 10) % 2]

    threads = [threading.Thread(target=slide, args=(start,)) for start in (0, 13, 31, 57)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert explorer.view.scene.group == explorer.group
    assert explorer.removed == expected(explorer) == drawn(explorer)

"""Channels exchanged by hand, in process: what goes then, what is refused, and that it can be undone."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.plans.rounding import lowest
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.desk.exchanges import check_exchange, exchanged
from tests.allocation.made import branches, curves_of, rising
from tests.widgets.desk.costs import costs_of


def group_of(channels: int, **more: object) -> fl.ChannelGroup:
    return fl.ChannelGroup("g", channels, ("g",), ("h",), **more)


@pytest.fixture
def editor() -> Iterator[PlanEditor]:
    graph = fl.trace(fl.models.load("resnet20-fashion"), torch.randn(1, 1, 28, 28))
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    yield editor
    editor.close()


def by_score(editor: PlanEditor, name: str) -> list[int]:
    """Return a group's channels, the lowest score first."""
    return torch.argsort(editor._scores[name], stable=True).tolist()


def keep(editor: PlanEditor, name: str, count: int) -> None:
    """Do what the browser does when a bar has moved."""
    kept = list(editor.kept)
    kept[list(editor.desk["groups"]).index(next(g for g in editor.desk["groups"] if g["name"] == name))] = count
    editor.set_state({"kept": kept, "revision": editor.revision + 1})


# Which channels go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_exchanges_are_those_of_places_in_the_order(seed: int):
    rng = random.Random(seed)
    group, scores = group_of(12), torch.randperm(12, generator=torch.Generator().manual_seed(seed)).double()
    pairs: list[tuple[int, int]] = []
    swapped = scores.clone()
    for _ in range(4):
        gone = exchanged(group, lowest(group, {"g": scores}, 5), pairs)
        stay, go = rng.choice(gone), rng.choice([c for c in range(12) if c not in gone])
        check_exchange(group, gone, stay, go)
        pairs.append((stay, go))
        swapped[[stay, go]] = swapped[[go, stay]]
        after = exchanged(group, lowest(group, {"g": scores}, 5), pairs)
        assert set(after) == set(gone) - {stay} | {go}
    for count in range(1, 12):  # at each height of the bar
        assert exchanged(group, lowest(group, {"g": scores}, count), pairs) == lowest(group, {"g": swapped}, count)


@pytest.mark.parametrize(
    ("group", "removed", "stay", "go", "words"),
    [
        (group_of(4, protected="the output"), (), 0, 1, "group 'g' is protected (the output): nothing of it goes"),
        (group_of(4), (), 0, 1, "nothing of group 'g' is removed: there is no channel to exchange"),
        (group_of(4), (0,), 4, 1, "stay must be a channel of group 'g', 0 to 3; got 4"),
        (group_of(4), (0,), 0, "1", "go must be a channel of group 'g', 0 to 3; got '1'"),
        (group_of(4), (0,), 1, 1, "stay and go must be two channels of group 'g'; got 1 twice"),
        (group_of(4), (0,), 1, 2, "stay must be a channel of group 'g' that goes (0); 1 stays already"),
        (group_of(4), (0, 1), 0, 1, "go must be a channel of group 'g' that stays; 1 goes already (0, 1 do)"),
        (group_of(4, blocks=(0, 0, 1, 1)), (0, 2), 0, 3, "2 blocks of group 'g': 0 is in block 0, 3 in block 1"),
        (group_of(4, parts=((2, 3),)), (0, 2), 0, 3, "channel 3 of group 'g' must stay: a layer makes or reads only"),
    ],
)
def test_what_cannot_be_exchanged_is_refused_in_words(group, removed, stay, go, words: str):
    with pytest.raises(ValueError, match=re.escape(words)):
        check_exchange(group, removed, stay, go)


def test_a_part_is_never_emptied():
    group = group_of(6, parts=((0, 1),))
    assert exchanged(group, (0, 5), [(5, 1)]) == (0, 5)
    assert exchanged(group, (4, 5), [(5, 1)]) == (1, 4)


# On the desk ----------------------------------------------------------------------------------------------------------


def test_an_exchange_is_a_plan_and_moves_with_the_bar(editor: PlanEditor):
    name = "layer1.0.conv1"
    order = by_score(editor, name)
    keep(editor, name, 12)
    seen: list[fl.Plan] = []
    editor.observe(lambda change: seen.append(change["new"]), "plan")
    plan = editor.exchange(name, stay=order[0], go=order[9])
    assert seen == [plan]
    assert editor.plan == plan
    assert set(plan.removed[name]) == {*order[1:4], order[9]}
    keep(editor, name, 14)
    assert set(editor.plan.removed[name]) == {order[1], order[9]}
    keep(editor, name, 4)  # both go
    assert set(editor.plan.removed[name]) == set(order[:12])
    keep(editor, name, 12)
    assert editor.plan == plan
    assert editor.by_criterion(name).removed[name] == tuple(sorted(order[:4]))
    assert editor.exchanged == {}


def test_there_and_back_leaves_nothing(editor: PlanEditor):
    name = "layer1.0.conv1"
    keep(editor, name, 12)
    order, before = by_score(editor, name), editor.plan
    editor.exchange(name, stay=order[0], go=order[9])
    assert editor.exchange(name, stay=order[9], go=order[0]) == before
    assert editor.exchanged == {}


def test_the_browser_undoes_with_numbers_and_exchanges_at_once(editor: PlanEditor):
    name = "layer1.0.conv1"
    keep(editor, name, 12)
    order, kept = by_score(editor, name), list(editor.kept)
    plan, exchanges = editor.exchange(name, stay=order[0], go=order[9]), dict(editor.exchanged)
    seen: list[fl.Plan] = []
    editor.observe(lambda change: seen.append(change["new"]), "plan")
    nothing = [group["channels"] for group in editor.desk["groups"]]
    editor.set_state({"kept": nothing, "exchanged": {}, "revision": editor.revision + 1})
    editor.set_state({"kept": kept, "exchanged": exchanges, "revision": editor.revision + 1})
    assert editor.plan == plan
    assert seen == [editor._bars.nothing, plan]  # and none that was never asked for


@pytest.mark.parametrize(
    ("exchanges", "words"),
    [
        ({"99": [[0, 1]]}, "by the groups' places, 0 to"),
        ({"1": [[0, 1, 2]]}, "must be two channels (stay, go)"),
        ({"1": "no"}, "must be pairs of channels"),
        ({"1": [[0, 16]]}, "0 to 15; got 16"),
    ],
)
def test_exchanges_that_cannot_be_change_nothing(editor: PlanEditor, exchanges: dict, words: str):
    before = editor.plan
    editor.set_state({"exchanged": exchanges})
    assert words in editor.notice["words"]
    assert (editor.exchanged, editor.plan) == ({}, before)


def test_by_message(editor: PlanEditor):
    place, name = 1, "layer1.0.conv1"
    assert list(editor._graph)[place] == name
    keep(editor, name, 12)
    order = by_score(editor, name)
    editor._handle_custom_msg({"do": "exchange", "group": place, "stay": order[0], "go": order[9]}, [])
    assert editor.exchanged == {"1": [[order[0], order[9]]]}
    editor._handle_custom_msg({"do": "exchange", "group": place, "stay": order[0], "go": order[9]}, [])
    assert editor.notice["kind"] == "error"
    assert "stays already" in editor.notice["words"]
    editor._handle_custom_msg({"do": "criterion", "group": place}, [])
    assert editor.exchanged == {}
    for bad in ({"group": 99}, {"group": -1}, {"group": "0"}, {}):
        editor._handle_custom_msg({"do": "criterion"} | bad, [])
        assert "group must be" in editor.notice["words"]


def test_a_plan_that_is_assigned_is_that_plan(editor: PlanEditor):
    name = "layer1.0.conv1"
    keep(editor, name, 12)
    order = by_score(editor, name)
    editor.exchange(name, stay=order[0], go=order[9])
    plan = fl.Plan.uniform(editor._graph, editor._scores, 0.3, multiple=1)
    editor.plan = plan
    assert editor.plan == plan
    assert editor.exchanged == {}
    other = fl.Plan(plan.widths, {**plan.removed, name: tuple(sorted(order[-5:]))})
    editor.plan = other
    editor.exchange(name, stay=order[-1], go=order[0])  # on top of it
    assert set(editor.plan.removed[name]) == {*order[-5:-1], order[0]}
    assert editor.by_criterion(name) == plan


def test_a_budget_minds_what_was_chosen(editor: PlanEditor):
    name = "layer1.0.conv1"
    keep(editor, name, 12)
    order = by_score(editor, name)
    editor.exchange(name, stay=order[0], go=order[9])
    for part in (0.8, 0.5):
        editor.fit_budget(macs=part)
        assert editor.exchanged == {"1": [[order[0], order[9]]]}
        kept = editor.plan.kept[name]
        assert (order[0] in editor.plan.removed[name]) == (kept < 7)


@pytest.mark.parametrize("seed", range(3))
def test_what_it_costs_is_told_to_the_browser(seed: int):
    graph, rng = branches(), random.Random(seed)
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    for _ in range(12):
        kept = [rng.randint(g.least, g.channels) // g.step * g.step if not g.protected else g.channels
                for g in graph.values()]  # fmt: skip
        editor.set_state({"kept": kept, "revision": editor.revision + 1})
        name = rng.choice([n for n, gone in editor.plan.removed.items() if gone and editor.plan.kept[n]])
        removed = editor.plan.removed[name]
        stay, go = rng.choice(removed), rng.choice([c for c in range(graph[name].channels) if c not in removed])
        try:
            editor.exchange(name, stay=stay, go=go)
        except ValueError:
            continue
        shown = costs_of(editor.desk, editor.kept, editor.chosen)
        cost = graph.cost(editor.plan)
        assert (shown["macs"], shown["params"], shown["bytes"]) == (cost.macs, cost.params, cost.bytes)
    editor.close()


def test_grouped_convolutions_exchange_within_a_block():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(), nn.LazyLinear(3))
    model(torch.randn(1, 1, 8, 8))
    graph = fl.trace(model.eval(), torch.randn(1, 1, 8, 8))
    name = next(n for n, g in graph.items() if g.step == 2)
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    editor.plan = fl.Plan.from_ratios(graph, editor._scores, {name: 0.5})
    blocks, removed = graph[name].blocks, editor.plan.removed[name]
    stay = removed[0]
    stays = [c for c in range(8) if c not in removed]
    other = next(c for c in stays if blocks[c] != blocks[stay])
    with pytest.raises(ValueError, match="exchange two of one block"):
        editor.exchange(name, stay=stay, go=other)
    go = next(c for c in stays if blocks[c] == blocks[stay])
    fl.prune(graph, editor.exchange(name, stay=stay, go=go))
    editor.close()

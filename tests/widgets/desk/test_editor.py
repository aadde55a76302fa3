"""`PlanEditor` in process: the plan, the numbers on the screen, and what the browser asks for."""

from __future__ import annotations

import json
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torchvision
import traitlets

import fpgmlab as fl
from fpgmlab.widgets import PlanEditor
from tests.allocation.made import branches, chain, curves_of, rising
from tests.checks import random_plan
from tests.widgets.desk.costs import costs_of


@pytest.fixture
def curves(graph: fl.ChannelGraph) -> fl.Curves:
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 0).items()}
    return curves_of(graph, drops, "accuracy")


@pytest.fixture
def make(graph: fl.ChannelGraph, curves: fl.Curves) -> Iterator[Callable[..., PlanEditor]]:
    """Return a function that makes editors, which are closed at the end."""
    editors = []

    def make_(graph: fl.ChannelGraph = graph, curves: fl.Curves = curves, *rest: object, **options) -> PlanEditor:
        editors.append(PlanEditor(graph, curves, *rest, **{"multiple": 1, **options}))
        return editors[-1]

    yield make_
    for editor in editors:
        editor.close()


def whole(graph: fl.ChannelGraph) -> list[int]:
    return [group.channels for group in graph.values()]


def move(editor: PlanEditor, kept: list[int]) -> None:
    """Do what the browser does when bars have moved."""
    editor.set_state({"kept": list(kept), "revision": editor.revision + 1})


def ask(editor: PlanEditor, **content: object) -> dict:
    """Send a message as the browser does, and return the notice that is shown then."""
    editor._handle_custom_msg(content, [])
    return editor.notice


def agrees(editor: PlanEditor, graph: fl.ChannelGraph) -> bool:
    """Tell whether bars, plan, the confirmed totals and the browser's own are one."""
    cost, shown = graph.cost(editor.plan), costs_of(editor.desk, editor.kept, editor.chosen)
    told = [(each["macs"], each["params"], each["bytes"]) for each in (editor.confirmed, shown)]
    same = editor.kept == [editor.plan.kept[name] for name in graph]
    return (
        same
        and told == [(cost.macs, cost.params, cost.bytes)] * 2
        and (editor.confirmed["revision"] == editor.revision)
    )


# The plan and the bars ------------------------------------------------------------------------------------------------


def test_bars_become_plans_and_plans_bars(make: Callable, graph: fl.ChannelGraph, curves: fl.Curves):
    editor = make()
    assert editor.plan == fl.Plan({name: g.channels for name, g in graph.items()}, {})
    seen = []
    editor.observe(lambda change: seen.append(change["new"]), "plan")
    move(editor, [8, *whole(graph)[1:]])
    assert editor.plan == fl.Plan.from_ratios(graph, curves.scores, {"conv1": 0.5})
    assert agrees(editor, graph)
    assert editor.revision == 1
    plan = fl.Plan.uniform(graph, curves.scores, 0.3, multiple=1)
    editor.plan = plan
    assert (editor.plan, editor.kept) == (plan, list(plan.kept.values()))
    assert agrees(editor, graph)
    assert editor.revision == 2
    assert seen == [fl.Plan.from_ratios(graph, curves.scores, {"conv1": 0.5}), plan]


def test_a_plan_of_other_channels_stays_while_its_numbers_do(make: Callable, graph: fl.ChannelGraph):
    editor, odd = make(), random_plan(graph, 1)
    editor.plan = odd
    assert editor.plan == odd
    kept = list(editor.kept)
    moved = [group.channels if i == 2 else k for i, (k, group) in enumerate(zip(kept, graph.values(), strict=True))]
    move(editor, moved)
    assert {n: r for n, r in editor.plan.removed.items() if n != list(graph)[2]} == {
        n: r for n, r in odd.removed.items() if n != list(graph)[2]
    }
    move(editor, kept)  # undone
    assert editor.plan == odd
    by_score = fl.Plan.from_ratios(graph, editor._scores, odd.ratios)
    editor.plan = by_score
    assert editor.kept == kept
    assert editor.plan == by_score
    move(editor, moved)
    move(editor, kept)
    assert editor.plan == by_score


@pytest.mark.parametrize("seed", range(3))
def test_channels_that_do_not_cost_the_same_are_told_to_the_browser(make: Callable, seed: int):
    graph = branches()
    editor = make(graph, curves_of(graph, rising(graph, 0)))
    for step in range(6):
        editor.plan = random_plan(graph, 10 * seed + step)
        assert agrees(editor, graph)
    model = torchvision.models.regnet_y_400mf(num_classes=3).eval()
    graph = fl.trace(model, torch.randn(1, 3, 64, 64))
    editor = make(graph, curves_of(graph, rising(graph, 0)), plan=random_plan(graph, seed))
    assert editor.plan == random_plan(graph, seed)
    assert agrees(editor, graph)


@pytest.fixture
def _restless() -> Iterator[None]:
    """Let threads take turns in the middle of everything."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_a_thousand_edits_of_two_threads_end_with_one_plan(make: Callable, graph: fl.ChannelGraph):
    editor, errors = make(), []
    seen = []
    editor.observe(lambda change: seen.append(change["new"]), "plan")

    def edit(seed: int, assign: bool) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(10):
                kept = [rng.randint(1, g.channels) if g.protected is None else g.channels for g in graph.values()]
                if assign:
                    editor.plan = fl.Plan.from_ratios(
                        graph, editor._scores, {n: 1 - k / graph[n].channels for n, k in zip(graph, kept, strict=True)}
                    )
                else:
                    move(editor, kept)
        except Exception as error:
            errors.append(error)

    for turn in range(50):  # what went wrong could be mended by the next edit: they pause often
        threads = [threading.Thread(target=edit, args=(2 * turn + i, bool(i))) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert agrees(editor, graph)
        assert seen[-1] == editor.plan
    assert len(seen) > 900


def test_edits_that_cross_each_other_end_with_the_same_plan_on_both_sides(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    sent = []
    editor.send_state = lambda key=None: sent.append(key)
    editor.plan = fl.Plan.uniform(graph, editor._scores, 0.5, multiple=1)
    assert editor.revision == 1
    del sent[:]
    editor.set_state({"kept": [8, *whole(graph)[1:]], "revision": 1})  # sent before it knew
    assert editor.plan.kept["conv1"] == 8
    assert (editor.revision, editor.confirmed["revision"]) == (2, 2)
    assert "kept" in sent  # the browser showed the kernel's by now
    del sent[:]
    editor.set_state({"kept": [4, *whole(graph)[1:]], "revision": 3})
    assert "kept" not in sent
    assert agrees(editor, graph)


def test_a_revision_alone_is_confirmed_too(make: Callable):
    editor = make()
    editor.set_state({"kept": list(editor.kept), "revision": 7})  # moved, and undone before it was sent
    assert editor.confirmed["revision"] == 7


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"kept": [8]}, "kept must be 13 numbers, one for each group; got 1"),
        ({"kept": [0] + [16] * 12}, "group 'conv1' can keep from 1 to 16; got 0"),
        ({"kept": [17] + [16] * 12}, "group 'conv1' can keep from 1 to 16; got 17"),
        ({"kept": "all"}, "kept"),
        ({"kept": [1.5] * 13}, "kept"),
        ({"multiple": 0}, "multiple must be a whole number of at least 1; got 0"),
        ({"metric": "acuracy"}, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"locked": [13]}, "locked must be positions of groups, 0 to 12; got 13"),
        ({"locked": [-1]}, "locked must be positions of groups"),
        ({"snapshots": [{"id": 0, "name": "", "parent": None, "kept": []}]}, "the name of a snapshot must be a text"),
        ({"snapshots": [{"id": "0"}]}, "the id of a snapshot must be a whole number of its own"),
        ({"snapshots": [{"id": 0, "name": "a", "parent": 5, "kept": []}]}, "comes from 5, which is no snapshot's id"),
        ({"snapshots": [{"id": 0, "name": "a", "parent": None, "kept": [1]}]}, "snapshot 'a': kept must be 13"),
        ({"snapshots": [{"id": 0, "name": "a", "parent": None, "kept": ["x"] * 13}]}, "snapshot 'a'"),
    ],
)
def test_what_the_browser_cannot_mean_changes_nothing(make: Callable, graph: fl.ChannelGraph, state: dict, words: str):
    editor = make()
    move(editor, [8, *whole(graph)[1:]])
    before = editor.get_state(["kept", "multiple", "metric", "locked", "snapshots"])
    editor.set_state(state | {"revision": 2})
    assert editor.get_state(list(before)) == before
    assert editor.notice["kind"] == "error"
    assert words in editor.notice["words"]
    assert agrees(editor, graph)
    (name, value), *_ = state.items()
    with pytest.raises(traitlets.TraitError):
        setattr(editor, name, value)
    assert editor.get_state(list(before)) == before


def test_plans_of_other_networks_are_refused(make: Callable, graph: fl.ChannelGraph):
    editor, other = make(), fl.Plan({"conv": 8}, {"conv": (1,)})
    for plan, words in (
        (other, "the plan was made for another network: unknown group 'conv': did you mean 'conv1'"),
        (fl.Plan({"conv1": 17}, {}), "made for other widths: group 'conv1' has 16 channels here, 17 in the plan"),
        (fl.Plan({"fc": 10}, {"fc": (1,)}), "group 'fc' is protected"),
    ):
        with pytest.raises(ValueError, match=words):
            editor.plan = plan
        with pytest.raises(ValueError, match=words):
            make(plan=plan)
    assert editor.plan.removed["conv1"] == ()
    editor.plan = fl.Plan({"conv1": 16}, {"conv1": (3, 5)})  # the other groups stay whole
    assert editor.plan == fl.Plan({name: g.channels for name, g in graph.items()}, {"conv1": (3, 5)})
    with pytest.raises(traitlets.TraitError):
        editor.plan = "plan.json"


def test_it_can_begin_with_a_plan_from_disk(make: Callable, graph: fl.ChannelGraph, tmp_path: Path):
    first = make()
    first.plan = random_plan(graph)
    first.save(tmp_path / "plan.json")
    second = make(plan=fl.Plan.from_json(tmp_path / "plan.json"))
    assert second.plan == first.plan
    assert (second.kept, second.confirmed["macs"]) == (first.kept, first.confirmed["macs"])


def test_two_editors_of_one_graph_are_independent(make: Callable, graph: fl.ChannelGraph):
    one, two = make(), make()
    one.plan = fl.Plan.uniform(graph, one._scores, 0.5, multiple=1)
    move(two, [4, *whole(graph)[1:]])
    one.locked, two.multiple = [1], 8
    assert (one.plan.kept["conv1"], two.plan.kept["conv1"]) == (8, 4)
    assert (one.multiple, two.locked) == (1, [])


def test_an_observer_that_fails_leaves_a_whole_state(make: Callable, graph: fl.ChannelGraph):
    editor = make()

    def fail(change: dict) -> None:
        raise RuntimeError("mine")

    editor.observe(fail, "plan")
    with pytest.raises(RuntimeError, match="mine"):
        move(editor, [8, *whole(graph)[1:]])
    assert agrees(editor, graph)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"multiple": 0}, "multiple must be a whole number of at least 1; got 0"),
        ({"max_ratio": 1.5}, "max_ratio must lie between 0 and 1"),
        ({"metric": "loss"}, "unknown metric 'loss'"),
        ({"scores": {"conv1": torch.zeros(3)}}, r"scores of group 'conv1' must be \(16,\); got \(3,\)"),
        ({"scores": {"conv1": torch.full((16,), float("nan"))}}, "scores of group 'conv1' have 16 NaN"),
        ({"scores": {"conv1": torch.zeros(16)}}, "no scores for group 'layer1.0.conv1'"),
    ],
)
def test_options_out_of_range(make: Callable, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        make(**options)


def test_curves_that_do_not_fit_are_refused(make: Callable, graph: fl.ChannelGraph, curves: fl.Curves):
    with pytest.raises(ValueError, match="the curves are of another network: unknown group '0'"):
        make(curves=curves_of(chain(8), {"0": {4: 0.1}}), scores=curves.scores)
    drops = rising(graph, 0)
    with pytest.raises(ValueError, match="give scores="):
        make(curves=curves_of(graph, drops, scores={}))
    bare = make(curves=fl.Curves({}, {}, {}, {}), scores=curves.scores)  # nothing was measured
    move(bare, [8, *whole(graph)[1:]])
    assert (bare.metric, bare.forecast) == (None, None)
    assert agrees(bare, graph)
    assert list(bare.report["network"]) == ["original", "predicted"]


def test_the_metric_shown_first(make: Callable, task: fl.tasks.Classification, curves: fl.Curves):
    assert make().metric == make(metric="accuracy").metric == "accuracy"
    assert make().forecast.value == curves.base["accuracy"]


# Budgets and snapshots ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["allocate", "equal_loss"])
def test_budgets_are_met_around_locked_bars(make: Callable, graph: fl.ChannelGraph, curves: fl.Curves, method: str):
    editor = make(multiple=2)
    move(editor, [6, *whole(graph)[1:]])
    editor.locked = [3, 0]
    assert editor.locked == [0, 3]
    plan = editor.fit_budget(method, macs=0.6)
    names = list(graph)
    own = {"metric": "accuracy"} if method == "equal_loss" else {}
    rule = {"allocate": fl.allocate, "equal_loss": fl.allocation.equal_loss}[method]
    assert plan == rule(graph, curves, macs=0.6, multiple=2, locked={names[0]: 6, names[3]: 16}, **own)
    assert editor.plan == plan
    assert (plan.kept[names[0]], plan.kept[names[3]]) == (6, 16)
    assert graph.cost(plan).macs <= 0.6 * graph.cost().macs


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"macs": 0.001}, "cannot be reached"),
        ({"macs": 2}, "0 < macs <= 1; got 2"),
        ({}, "give exactly one"),
        ({"mac": 0.5}, "unknown budget 'mac': did you mean 'macs'"),
        ({"method": "best", "macs": 0.5}, "unknown method 'best'"),
        ({"latency": 0.5}, "latency= needs table="),
        ({"method": "equal_loss", "latency": 0.5}, "equal_loss knows no budget of latency"),
    ],
)
def test_impossible_budgets_leave_the_plan(make: Callable, graph: fl.ChannelGraph, asked: dict, words: str):
    editor = make()
    move(editor, [8, *whole(graph)[1:]])
    before = editor.plan
    with pytest.raises(ValueError, match=words):
        editor.fit_budget(**asked)
    assert editor.plan == before


def test_snapshots_from_python_and_from_the_browser(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    editor.snapshot("begin")
    move(editor, [8, *whole(graph)[1:]])
    editor.snapshot()
    assert editor.snapshots == [
        {"id": 1, "name": "begin", "parent": None, "kept": whole(graph)},
        {"id": 2, "name": "plan 2", "parent": 1, "kept": [8, *whole(graph)[1:]]},
    ]
    assert editor.current == 2
    editor.set_state({"snapshots": editor.snapshots[:1], "current": 1})
    assert (len(editor.snapshots), editor.current) == (1, 1)
    editor.snapshots = []
    assert editor.current is None
    with pytest.raises(traitlets.TraitError, match="the name of a snapshot must be a text"):
        editor.snapshot("")


# What the browser asks for --------------------------------------------------------------------------------------------


def test_a_budget_by_button(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    editor.locked = [0, 1, 2]
    notice = ask(editor, do="budget", method="allocate", kind="macs", share=0.5)
    share = 100 * graph.cost(editor.plan).macs / graph.cost().macs
    assert notice["words"] == f"50.0 % of the MACs: {share:.1f} % remain, 3 bars locked"
    assert notice["kind"] == "info"
    editor.locked = []
    later = ask(editor, do="budget", method="equal_loss", kind="params", share=0.7)
    assert re.fullmatch(r"70\.0 % of the parameters: (6\d\.\d|70\.0) % remain", later["words"])
    assert later["id"] != notice["id"]


def test_saving_by_button(make: Callable, graph: fl.ChannelGraph, tmp_path: Path):
    editor = make()
    move(editor, [8, *whole(graph)[1:]])
    path = tmp_path / "new" / "plan.json"
    assert ask(editor, do="save", path=f" {path} ")["words"] == f"Saved to {path}"
    assert fl.Plan.from_json(path) == editor.plan
    notice = ask(editor, do="save", path=str(path / "under.json"))
    assert notice["kind"] == "error"
    assert "cannot write" in notice["words"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "a message must say what to do; got {}"),
        (None, "a message must say what to do; got None"),
        ({"do": "format the disk"}, "unknown request 'format the disk'"),
        ({"do": ["save"]}, "unknown request"),
        ({"do": "save"}, "save: give the name of a file; got None"),
        ({"do": "save", "path": "  "}, "save: give the name of a file"),
        ({"do": "save", "path": 3}, "save: give the name of a file; got 3"),
        ({"do": "export", "folder": ""}, "export: give the name of a folder; got ''"),
        ({"do": "export", "folder": "a\0b"}, "export: give the name of a folder"),
        ({"do": "budget", "method": "alocate", "kind": "macs", "share": 0.5}, "unknown method 'alocate'"),
        ({"do": "budget", "method": "allocate", "kind": "flops", "share": 0.5}, "unknown budget 'flops'"),
        ({"do": "budget", "method": "allocate", "kind": ["macs"], "share": 0.5}, "unknown budget"),
        ({"do": "budget", "method": "allocate", "kind": "macs", "share": 0}, "above 0 % and up to 100 %; got 0"),
        ({"do": "budget", "method": "allocate", "kind": "macs", "share": 50}, "up to 100 %; got 50"),
        ({"do": "budget", "method": "allocate", "kind": "macs", "share": True}, "up to 100 %; got True"),
        ({"do": "budget", "method": "allocate", "kind": "macs", "share": float("nan")}, "up to 100 %; got nan"),
        ({"do": "budget", "method": "allocate", "kind": "macs", "share": 0.001}, "cannot be reached"),
        ({"do": "budget", "method": "allocate", "kind": "latency", "share": 0.5}, "latency= needs table="),
        ({"do": "fine-tune", "epochs": 0, "lr": 0.1}, "epochs must be a whole number of at least 1; got 0"),
        ({"do": "fine-tune", "epochs": "3", "lr": 0.1}, "epochs must be a whole number of at least 1; got '3'"),
        ({"do": "fine-tune", "epochs": 1, "lr": 0}, "the learning rate must be a number above 0; got 0"),
        ({"do": "fine-tune", "epochs": 1, "lr": None}, "the learning rate must be a number above 0; got None"),
        ({"do": "fine-tune", "epochs": 1, "lr": 0.1}, "fine-tune: no task was given"),
        ({"do": "evaluate"}, "evaluate: no task was given"),
    ],
)
def test_what_is_not_understood_becomes_a_notice(make: Callable, content: object, words: str):
    editor = make()
    editor._handle_custom_msg(content, [])
    assert (editor.notice["kind"], editor.state) == ("error", "idle")
    assert words in editor.notice["words"]
    assert editor.plan.removed["conv1"] == ()
    json.dumps(editor.notice, allow_nan=False)


def test_the_whole_state_is_strict_json(make: Callable):
    editor = make()
    ask(editor, do="budget", method="allocate", kind="macs", share=0.5)
    editor.snapshot()
    state = {name: value for name, value in editor.get_state().items() if not name.startswith(("_", "layout"))}
    assert json.loads(json.dumps(state, allow_nan=False))["kept"] == editor.kept


def test_the_browsers_side_is_one_module():
    text = str(PlanEditor._esm)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) == ["export default { render };"]
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)), "two files of one bundle use the same name"
    assert {"deskModel", "deskStore", "barsView"} <= set(names)


def test_figure_is_of_the_plan_shown(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    move(editor, [8, *whole(graph)[1:]])
    assert editor.figure().get_size_inches()[0] > 0

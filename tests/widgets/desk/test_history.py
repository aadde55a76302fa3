"""Undo and redo in the kernel: the same as in the browser, with the channels that were chosen by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

import pytest

import fpgmlab as fl
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.desk.history import MOST, Entry, History
from tests.allocation.made import curves_of, rising
from tests.checks import random_plan


@pytest.fixture
def make(graph: fl.ChannelGraph) -> Iterator[Callable[..., PlanEditor]]:
    """Return a function that makes editors, which are closed at the end."""
    editors = []
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 0).items()}
    curves = curves_of(graph, drops, "accuracy")

    def make_(**options: object) -> PlanEditor:
        editors.append(PlanEditor(graph, curves, **{"multiple": 1, **options}))
        return editors[-1]

    yield make_
    for editor in editors:
        editor.close()


def whole(graph: fl.ChannelGraph) -> list[int]:
    return [group.channels for group in graph.values()]


def told(editor: PlanEditor) -> dict:
    """Return the history as a page that is loaded again gets it."""
    state = editor.get_state()["history"]
    return json.loads(json.dumps(state))


def browser(editor: PlanEditor, kept: list[int], what: str = "", own: dict | None = None) -> None:
    """Send a plan as the browser does: an edit, or a step that it tells."""
    revision = editor.revision + 1
    step = {"step": {"what": what, "own": own or {}, "revision": revision}} if what else {}
    editor.set_state({**step, "revision": revision, "kept": list(kept)})


def test_what_was_on_the_desk_can_be_undone(make: Callable, graph: fl.ChannelGraph):
    begin = fl.Plan.uniform(graph, make()._scores, 0.5, multiple=1)
    editor = make(plan=begin)
    assert told(editor) == {"past": [], "future": []}
    assert (editor.undo(), editor.redo()) == (False, False)
    odd = random_plan(graph, 1)
    editor.plan = odd
    browser(editor, [4, *editor.kept[1:]])
    last = editor.plan
    assert len(told(editor)["past"]) == 2
    assert editor.undo()
    assert editor.plan == odd
    assert editor.confirmed["revision"] == editor.revision
    assert editor.undo()
    assert editor.plan == begin
    assert not editor.undo()
    assert editor.redo()
    assert editor.plan == odd
    assert editor.redo()
    assert editor.plan == last
    assert told(editor)["future"] == []


def test_channels_chosen_by_hand_come_and_go(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    browser(editor, [8, *whole(graph)[1:]])
    by_score = editor.plan
    revision, lowest = editor.revision, by_score.removed["conv1"]
    other = tuple(sorted({*range(16)} - {*lowest}))[:8]
    editor.plan = fl.Plan(by_score.widths, {**by_score.removed, "conv1": other})
    assert (editor.revision, editor.own) == (revision + 1, {"0": list(other)})
    by_hand = editor.plan
    browser(editor, [7, *whole(graph)[1:]])
    assert editor.own == {}
    browser(editor, [8, *whole(graph)[1:]])  # the bars remember
    assert editor.plan == by_hand
    assert editor.undo()
    assert editor.undo()
    assert editor.plan == by_hand
    assert editor.undo()
    assert (editor.plan, editor.own) == (by_score, {})
    assert editor.redo()
    assert (editor.plan, editor.own) == (by_hand, {"0": list(other)})
    # The same from the browser, which says which channels go.
    browser(editor, editor.kept, "undo")
    assert editor.plan == by_score
    assert [len(told(editor)[side]) for side in ("past", "future")] == [1, 3]
    browser(editor, editor.kept, "redo", {"0": list(other)})
    assert editor.plan == by_hand
    browser(editor, editor.kept, "edit", {"0": list(lowest[:1] + other[:7])})
    assert editor.plan.removed["conv1"] == tuple(sorted(lowest[:1] + other[:7]))
    assert [len(told(editor)[side]) for side in ("past", "future")] == [3, 0]


def test_exchanges_come_and_go_with_their_plans(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    browser(editor, [8, *whole(graph)[1:]])
    before = editor.plan
    stay = before.removed["conv1"][0]
    go = next(channel for channel in range(16) if channel not in before.removed["conv1"])
    after = editor.exchange("conv1", stay=stay, go=go)
    browser(editor, [7, *whole(graph)[1:]])
    assert editor.undo()
    assert (editor.plan, editor.exchanged) == (after, {"0": [[stay, go]]})
    assert editor.undo()
    assert (editor.plan, editor.exchanged) == (before, {})
    revision = editor.revision + 1  # and from the browser, which says all of it in one message
    step = {"what": "redo", "own": {}, "revision": revision}
    editor.set_state({"step": step, "revision": revision, "exchanged": {"0": [[stay, go]]}})
    assert editor.plan == after
    assert [len(told(editor)[side]) for side in ("past", "future")] == [2, 1]


def test_a_snapshot_has_its_channels(make: Callable, graph: fl.ChannelGraph):
    editor = make()
    editor.plan = fl.Plan({"conv1": 16}, {"conv1": (3, 5)})
    editor.snapshot("by hand")
    assert editor.snapshots[0]["own"] == {"0": [3, 5]}
    with pytest.raises(Exception, match="snapshot 'x': the place of a group must be a text, '0' to '12'; got 'conv1'"):
        editor.snapshots = [{"id": 1, "name": "x", "parent": None, "kept": editor.kept, "own": {"conv1": [3, 5]}}]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"what": "jump"}, "step must be one of 'edit', 'undo', 'redo'; not 'jump'"),
        ({"what": "undo", "own": [1]}, "channels must be lists by the place of their group; got [1]"),
        ({"what": "undo", "own": {"13": [1]}}, "the place of a group must be a text, '0' to '12'; got '13'"),
        ({"what": "undo", "own": {"0": "all"}}, "group 'conv1': channels must be a list of whole numbers; got 'all'"),
        ({"what": "undo", "own": {"0": [1.5]}}, "group 'conv1': channels must be a list of whole numbers"),
        ({"what": "undo", "own": {"0": [1] * 8}}, "group 'conv1': removed channels must be distinct and 0 to 15"),
        ({"what": "undo", "own": {"0": [1]}}, "group 'conv1' is to keep 8, but 1 channels are to go"),
        ({"what": "undo", "own": {"12": [1]}}, "group 'fc' is to keep 10, but 1 channels are to go"),
    ],
)
def test_a_step_that_cannot_be_changes_nothing(make: Callable, graph: fl.ChannelGraph, step: dict, words: str):
    editor = make()
    browser(editor, [8, *whole(graph)[1:]])
    before = editor.get_state(["kept", "own", "chosen", "history"])
    editor.set_state({"step": step, "revision": editor.revision + 1})
    assert words in editor.notice["words"]
    assert editor.get_state(list(before)) == before
    assert editor.confirmed["revision"] == editor.revision


def test_a_thousand_edits_send_no_history(make: Callable, graph: fl.ChannelGraph):
    editor, sent, rng = make(), [], random.Random(0)
    editor._send = lambda message, buffers=None: sent.append(message)
    for _ in range(1000):
        kept = list(editor.kept)
        free = [g for g, group in enumerate(graph.values()) if group.protected is None]
        kept[rng.choice(free)] = rng.randint(1, 16)
        browser(editor, kept)
    assert not any("history" in message.get("state", {}) for message in sent)
    assert len(told(editor)["past"]) == MOST
    for _ in range(MOST):
        assert editor.undo()
    assert not editor.undo()


def test_steps_that_the_kernel_does_not_know_are_edits():
    a, b, c, d = (Entry((n,)) for n in range(4))
    history = History()
    history.moved("edit", a, b)
    history.moved("undo", b, a)
    assert (history.past, history.future) == ([], [b])
    history.moved("redo", a, c)  # the browser's was another
    assert (history.past, history.future) == ([a], [])
    history.moved("undo", c, d)
    assert (history.past, history.future) == ([a, c], [])

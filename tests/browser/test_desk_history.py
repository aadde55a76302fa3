"""Undo and redo in the browser against the kernel's: two sides that note the same, whatever crosses on the way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.common.bundle import script
from tests.allocation.made import branches, curves_of, rising
from tests.checks import random_plan

STATIC = Path(fl.__file__).parent / "widgets" / "desk" / "static"
# A widget's model as the notebook has it: what is set in the browser goes to `sent` when it is saved; what comes from
# the kernel is there as a whole before anybody hears of it.
MODEL = """(state) => {
  const values = state, heard = new Map(), other = new Set();
  const fire = (names) => names.forEach((name) => (heard.get(name) ?? []).forEach((each) => each()));
  window.model = {
    sent: [],
    get: (name) => values[name],
    set(name, value) {
      if (JSON.stringify(values[name]) === JSON.stringify(value)) return;
      values[name] = value;
      other.add(name);
      fire([name]);
    },
    save_changes() {
      const copied = [...other].map((name) => [name, JSON.parse(JSON.stringify(values[name]))]);
      window.model.sent.push(Object.fromEntries(copied));
      other.clear();
    },
    send() {},
    on: (event, callback) => heard.set(event.slice(7), [...(heard.get(event.slice(7)) ?? []), callback]),
    off() {},
    came(state) {
      const names = Object.keys(state).filter((name) => JSON.stringify(values[name]) !== JSON.stringify(state[name]));
      Object.assign(values, state);
      fire(names);
    },
  };
  window.stores = [0, 1].map(() => deskStore(window.model, new AbortController().signal));
}"""  # fmt: skip
TOLD = """() => {
  const { past, future, now } = window.model.get("history"), [one, two] = window.stores;
  return { past, future, now, shown: [one.kept, two.kept], can: [one.canUndo(), one.canRedo()] };
}"""


class Both:
    """A desk's kernel and a page with two views of it; messages wait until they are delivered."""

    def __init__(self, page: object, editor: PlanEditor) -> None:
        self.page, self.editor, self.back = page, editor, []
        state = editor.get_state()
        self.names = [name for name in state if not name.startswith("_") and name not in ("layout", "tabbable")]
        editor._send = self._sent
        page.evaluate(MODEL, self._plain(state))

    def do(self, code: str, *arguments: object) -> None:
        self.page.evaluate(f"(a) => {{ {code} }}", list(arguments))

    def deliver(self) -> None:
        """Bring what one side sent to the other, until neither has anything."""
        while True:
            sent = self.page.evaluate("() => window.model.sent.splice(0)")
            for state in sent:
                self.editor.set_state(state)
            back, self.back[:] = list(self.back), []
            for state in back:
                self.page.evaluate("(state) => window.model.came(state)", self._plain(state))
            if not sent and not back:
                return

    def _sent(self, message: dict, buffers: object = None) -> None:
        if message["method"] == "update":  # and not an echo of what it sent, which the notebook sorts out
            self.back.append(message["state"])

    def _plain(self, state: dict) -> dict:
        return json.loads(json.dumps({name: state[name] for name in state if name in self.names}))

    def agree(self) -> None:
        told = self.page.evaluate(TOLD)
        kernel = self.editor.get_state(["history", "kept", "own", "exchanged"])
        now = {name: kernel[name] for name in ("kept", "own", "exchanged")}
        assert told["now"] == now
        assert told["shown"] == [now["kept"]] * 2
        assert {side: told[side] for side in ("past", "future")} == kernel["history"]
        assert told["can"] == [bool(told["past"]), bool(told["future"])]


@pytest.fixture(scope="module")
def page(browser: object) -> Iterator[object]:
    page = browser.new_page()
    page.add_script_tag(content=script(STATIC / "store.js"))
    yield page
    page.close()


@pytest.fixture
def make(page: object) -> Iterator[Callable[[], Both]]:
    """Return a function that makes desks with pages, which are closed at the end."""
    editors = []
    graph = branches()
    drops = {name: {k: d / 60 for k, d in points.items()} for name, points in rising(graph, 0).items()}

    def make_() -> Both:
        editors.append(PlanEditor(graph, curves_of(graph, drops, "accuracy"), multiple=1))
        return Both(page, editors[-1])

    yield make_
    for editor in editors:
        editor.close()


def other_channels(editor: PlanEditor, place: int, draw: random.Random) -> list[int]:
    group = list(editor._graph.values())[place]
    return draw.sample(range(group.channels), group.channels - editor.kept[place])


@pytest.mark.parametrize("seed", range(3))
def test_both_sides_note_the_same(make: Callable[[], Both], seed: int):
    torch.manual_seed(seed)
    draw, both = random.Random(seed), make()
    editor, groups = both.editor, list(both.editor._graph.values())
    free = [g for g, group in enumerate(groups) if group.protected is None and group.step == 1 and not group.parts]
    assert free
    for turn in range(60):
        place = draw.choice(free)
        what = draw.choice(("edit", "edit", "edit", "undo", "undo", "redo", "hand", "cell", "cell by hand", "snapshot"))
        if what == "edit":
            both.do(
                "window.stores[0].set(new Map([a]))", place, draw.randint(groups[place].least, groups[place].channels)
            )
        elif what in ("undo", "redo"):
            both.do(f"window.stores[{draw.randrange(2)}].{what}()")
        elif what == "hand" and editor.kept[place] < groups[place].channels:
            name = groups[place].name
            gone = editor.plan.removed[name]
            stays = [channel for channel in range(groups[place].channels) if channel not in gone]
            editor.exchange(name, stay=draw.choice(gone), go=draw.choice(stays))
        elif what == "cell":
            editor.plan = random_plan(editor._graph, 100 * seed + turn)
        elif what == "cell by hand" and editor.kept[place] < groups[place].channels:
            mine = {groups[place].name: tuple(other_channels(editor, place, draw))}
            editor.plan = fl.Plan(editor.plan.widths, {**editor.plan.removed, **mine})
        elif what == "snapshot":
            both.do("window.stores[0].addSnapshot()")
            both.deliver()
            both.do("window.stores[1].restore(a[0])", draw.choice([None, *range(1, 1 + len(editor.snapshots))]))
        both.deliver()
        both.agree()


def test_a_page_that_is_loaded_again_goes_on(make: Callable[[], Both]):
    both = make()
    for kept in (3, 4, 5):
        both.do("window.stores[0].set(new Map([a]))", 0, kept)
    both.deliver()
    both.do("window.stores[0].undo()")
    both.deliver()
    again = Both(both.page, both.editor)
    again.agree()
    assert again.page.evaluate(TOLD)["can"] == [True, True]
    again.do("window.stores[0].redo()")
    again.deliver()
    again.agree()
    assert again.editor.kept[0] == 5


def test_undo_does_not_wait_for_the_kernel_and_a_drag_goes_on(make: Callable[[], Both]):
    both = make()
    for kept in (5, 4, 3):
        both.do("window.stores[0].set(new Map([a]))", 0, kept)
    both.do("window.stores[0].undo(); window.stores[0].undo()")
    assert both.page.evaluate("() => window.stores[0].kept[0]") == 5
    both.do("window.stores[0].preview(new Map([a]))", 1, 2)
    both.deliver()
    assert both.page.evaluate("() => window.stores[0].kept.slice(0, 2)") == [5, 2]
    both.do("window.stores[0].revert()")
    both.agree()


def test_what_crosses_ends_with_one_plan(make: Callable[[], Both]):
    both = make()
    for turn in range(6):
        both.do("window.stores[0].set(new Map([a]))", 0, 2 + turn % 3)
        both.editor.plan = random_plan(both.editor._graph, turn)  # while that is under way
        if turn % 2:
            both.do("window.stores[0].undo()")
        both.deliver()
        told = both.page.evaluate(TOLD)
        assert told["now"]["kept"] == both.editor.kept
        assert told["now"]["own"] == both.editor.own
        assert told["now"]["exchanged"] == both.editor.exchanged

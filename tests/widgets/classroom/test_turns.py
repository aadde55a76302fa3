"""Turns: at most so many at a time, the most urgent first, of equal ones who came first."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.classroom.turns import Line
from fpgmlab.widgets.common import turns
from fpgmlab.widgets.common.turns import Turn
from fpgmlab.widgets.desk.job import RANKS
from fpgmlab.widgets.desk.live.agenda import Step, Subject
from fpgmlab.widgets.desk.live.memory import Entry, Stage


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(4)]
    yield made
    for pair in made:
        for each in pair:
            each.close()


def goes(end: socket.socket) -> bool:
    end.setblocking(False)
    try:
        return end.recv(64) == b"go\n"
    except BlockingIOError:
        return False


def test_the_most_urgent_goes_first_and_of_equal_ones_who_came_first(pairs: list):
    line, (a, b, c, d) = Line(1), pairs
    line.join(a[0], 3, 1.0)
    assert goes(a[1])
    line.join(b[0], 2, 3.0)
    line.join(c[0], 2, 2.0)
    line.join(d[0], 1, 4.0)
    assert not any(goes(each[1]) for each in (b, c, d))
    for done, following in ((a, d), (d, c), (c, b)):
        line.leave(done[0])
        assert [goes(each[1]) for each in pairs] == [each is following for each in pairs]


def test_as_many_go_as_there_are_places_and_who_leaves_the_queue_gets_none(pairs: list):
    line, (a, b, c, d) = Line(2), pairs
    for each in pairs:
        line.join(each[0], 1, 0.0)
    assert [goes(each[1]) for each in pairs] == [True, True, False, False]
    line.leave(c[0])
    line.leave(a[0])
    assert [goes(each[1]) for each in pairs] == [False, False, False, True]
    del b, d


def test_who_asks_again_has_it_again_unless_somebody_is_more_urgent(pairs: list):
    line, (a, b, *_) = Line(1), pairs
    line.join(a[0], 2, 1.0)
    line.join(b[0], 2, 2.0)
    assert goes(a[1])
    line.join(a[0], 2, 1.0)
    assert goes(a[1])
    line.join(b[0], 1, 2.0)
    line.join(a[0], 2, 1.0)
    assert goes(b[1])
    assert not goes(a[1])


def test_who_has_gone_does_not_hold_up_the_others(pairs: list):
    line, (a, b, c, _) = Line(1), pairs
    for each in (a, b, c):
        line.join(each[0], 1, 0.0)
    b[1].close()
    line.leave(a[0])
    assert goes(c[1])


def test_outside_of_a_class_everybody_goes_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(turns.SHARED, raising=False)
    with Turn(0) as turn:
        turn.pass_on()
        assert not turn.shared


def test_a_turn_is_waited_for_and_can_be_given_up(tmp_path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "line"
    monkeypatch.setenv(turns.SHARED, str(place))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(place))
        server.listen()
        looks: list[str] = []

        def check() -> None:
            looks.append("look")
            if len(looks) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), Turn(2, check, lambda: looks.append("waiting")):
            pass
        assert looks == ["look", "waiting", "look"]
        client, _ = server.accept()
        assert json.loads(client.recv(1000))["turn"][0] == 2
        assert client.recv(1000) == b"", "it has left"
        client.close()


def test_first_values_go_before_jobs_and_those_before_repairs_and_more_pictures():
    def rank(doing: str, begun: bool = False) -> int:
        entry = Entry("", 0, None, {"as cut": Stage(begun=begun), "repaired": Stage(begun=begun)})
        return Step(doing, Subject(Plan({}, {}), "", entry)).rank

    jobs = [RANKS["evaluate"], RANKS["repair"], RANKS["fine-tune"]]
    assert rank("glimpse") == rank("as cut") < jobs[0] < rank("repaired") == jobs[1]
    assert rank("repaired") < rank("as cut", begun=True) == rank("repaired", begun=True) < rank("warm") == jobs[2]

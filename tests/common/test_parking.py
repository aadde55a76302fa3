"""A computation halts deep within other code, goes on, fails where it is resumed, and can be given up."""

from __future__ import annotations

import threading

import pytest

from fpgmlab.common.parking import Parked


def test_it_goes_on_from_halt_to_halt():
    def body(halt):
        return sum(map(lambda i: (halt(i), i)[1], range(3)))

    parked = Parked(body)
    assert [parked.resume() for _ in range(4)] == [0, 1, 2, None]
    assert parked.finished
    assert parked.result == 3


def test_errors_come_out_where_it_is_resumed():
    def body(halt):
        halt("first")
        raise KeyError("later")

    parked = Parked(body)
    assert parked.resume() == "first"
    with pytest.raises(KeyError, match="later"):
        parked.resume()
    assert parked.finished


def test_given_up_it_runs_its_ends_and_no_thread_is_left():
    ended = []

    def body(halt):
        try:
            halt(1)
            ended.append("went on")
        finally:
            ended.append("cleaned up")

    before = threading.active_count()
    parked, never = Parked(body), Parked(body)
    parked.resume()
    parked.close()
    never.close()
    assert ended == ["cleaned up"]
    assert threading.active_count() == before

"""Work in a thread: whoever waits for it sees its end, and it can be asked to end."""

from __future__ import annotations

import threading

from fpgmlab.widgets.common.worker import Worker


def test_it_ends_when_it_is_asked_to():
    worker, begun, asked = Worker("test"), threading.Event(), threading.Event()
    assert worker.wait(), "nothing has begun"

    def work() -> None:
        begun.set()
        asked.wait(10)

    worker.begin(work)
    assert begun.wait(10)
    assert worker.thread is not None
    assert worker.thread.daemon, "a kernel that is shut down does not wait for it"
    assert worker.thread.name == "fpgmlab test"
    assert not worker.wait(0.01)
    assert not worker.stopping
    worker.stop()
    assert worker.stopping
    asked.set()
    assert worker.wait(10)


def test_its_own_callbacks_do_not_wait_for_it():
    worker, found = Worker("test"), []
    worker.begin(lambda: found.append(worker.wait()))
    assert worker.wait(10)
    assert found == [False]

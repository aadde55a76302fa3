"""What happens when memory runs out in the middle of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.sensitivity.replay import runners
from fpgmlab.sensitivity.replay.refits import Refits
from fpgmlab.sensitivity.store import work
from tests.sensitivity.small import run, same, small_graph, stop_after


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    return small_graph()


class Small:
    """A runner with memory for few samples."""

    def __init__(self, runner: runners.Runner, fits: int) -> None:
        self._runner, self._fits, self.run = runner, fits, runner.run

    def record(self, inputs: torch.Tensor) -> object:
        if len(inputs) > self._fits:
            raise torch.OutOfMemoryError("tried to allocate 7 GB\nand a long tale")
        return self._runner.record(inputs)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def little(fits: int) -> None:
        @contextmanager
        def running(graph: fl.ChannelGraph, dtype: str, refits: Refits | None) -> Iterator[runners.Runner]:
            with runners.running(graph, dtype, refits) as runner:
                yield Small(runner, fits)

        monkeypatch.setattr(work, "running", running)

    return little


def test_out_of_memory_halves_the_batch_and_goes_on(
    graph: fl.ChannelGraph, tmp_path: Path, little_memory: Callable[[int], None]
):
    whole = run(graph, None)
    little_memory(4)
    with pytest.warns(RuntimeWarning) as said:
        curves = run(graph, tmp_path / "a")
    assert [str(w.message).partition(".")[0] for w in said] == [
        "out of memory with 10 samples in one forward pass (tried to allocate 7 GB): going on with 5 at a time",
        "out of memory with 5 samples in one forward pass (tried to allocate 7 GB): going on with 2 at a time",
    ]
    assert curves.complete
    assert curves.frame["samples"].unique().tolist() == [40]
    assert curves.frame["value"].to_numpy() == pytest.approx(whole.frame["value"].to_numpy(), abs=1e-5)
    with pytest.warns(RuntimeWarning):
        stop_after(graph, tmp_path / "b", 7)
    assert same(run(graph, tmp_path / "b"), curves)  # and it says nothing any more


def test_out_of_memory_with_one_sample_is_an_error(graph: fl.ChannelGraph, little_memory: Callable[[int], None]):
    little_memory(0)
    with pytest.warns(RuntimeWarning), pytest.raises(work.OutOfMemory, match=r"1 samples in one forward pass.*7 GB"):
        run(graph, None)

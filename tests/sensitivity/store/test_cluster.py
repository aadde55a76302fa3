"""A sweep over worker processes gives what one process gives, bit by bit, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from distributed import Client, LocalCluster
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchmetrics.classification import MulticlassF1Score

import fpgmlab as fl
from fpgmlab.sensitivity.store.work import OutOfMemory
from tests.sensitivity.small import run, same, small_graph, small_network, small_task


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None, "silence_logs": "CRITICAL"}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As many threads here as on a worker: the last bit of a sum depends on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    return small_graph()


@pytest.mark.parametrize(
    ("memory", "tolerance"),
    [(4e9, None), (1e5, 0.15), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((4e9, 0.15), (1e5, None)))],
)
def test_workers_give_the_same(
    graph: fl.ChannelGraph, client: Client, tmp_path: Path, tolerance: float | None, memory: float
):
    seen: dict[str, list[fl.Curves]] = {"here": [], "there": []}
    options = {"tolerance": tolerance, "memory": memory}
    here = run(graph, None, on_update=seen["here"].append, **options)
    there = run(graph, tmp_path, client=client, on_update=seen["there"].append, **options)
    assert len(seen["here"]) >= 3
    for one, other in zip([*seen["there"], there, fl.Curves.load(tmp_path)], [*seen["here"], here, here], strict=True):
        if tolerance is not None:  # points that were finished meanwhile may have shown a larger change
            one, other = (replace(curves, changes={}) for curves in (one, other))
        assert same(one, other)
    assert not any("fpgmlab" in name for names in client.run(plugins_of).values() for name in names)


def test_workers_recalibrate_on_the_training_data(client: Client):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)]
    graph = fl.trace(nn.Sequential(*layers).eval(), small_task().example_input)
    there = run(graph, None, client=client, recalibrate=1)
    assert same(there, run(graph, None, recalibrate=1))
    assert not same(there, run(graph, None, client=client, surgery=True))


class Staying(TensorDataset):
    """Data that cannot be sent."""

    def __reduce__(self) -> NoReturn:
        raise AssertionError("data that no worker needs were sent")


def test_only_data_that_are_needed_are_sent(graph: fl.ChannelGraph, client: Client):
    task = small_task()
    staying = Staying(*task.val.tensors)
    there = run(graph, None, replace(task, train=staying, test=staying), client=client)
    assert same(there, run(graph, None, task))


def test_workers_refit_alike(graph: fl.ChannelGraph, client: Client):
    repair = {"repair": True, "repair_samples": 8}
    there = run(graph, None, client=client, **repair)
    assert same(there, run(graph, None, **repair))
    assert not same(there, run(graph, None))


def test_workers_keep_states_of_a_tasks_own_metrics(graph: fl.ChannelGraph, client: Client, tmp_path: Path):
    task = replace(small_task(), metrics={"f1": lambda: MulticlassF1Score(3)})
    there = run(graph, tmp_path, task, client=client, metrics=["f1"])
    assert same(there, run(graph, None, task, metrics=["f1"]))
    assert same(there, fl.Curves.load(tmp_path))


def plugins_of(dask_worker: object) -> list[str]:
    return list(dask_worker.plugins)


def test_a_killed_worker_changes_nothing(graph: fl.ChannelGraph, client: Client):
    here = run(graph, None, batch_size=2)
    workers = client.run(os.getpid)
    seen = []

    def kill(curves: fl.Curves) -> None:
        seen.append(curves)
        if len(seen) == 3:
            os.kill(next(iter(workers.values())), signal.SIGKILL)

    there = run(graph, None, batch_size=2, client=client, on_update=kill)
    assert same(there, here)
    assert len(seen) == 20
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != set(workers.values())


def test_it_stops_and_goes_on_here(graph: fl.ChannelGraph, client: Client, tmp_path: Path):
    seen: list[fl.Curves] = []
    stopped = run(graph, tmp_path, client=client, on_update=seen.append, stop=lambda: len(seen) == 2)
    assert not stopped.complete
    assert stopped.frame["samples"].unique().tolist() == [20]
    assert same(run(graph, tmp_path), run(graph, None))


def test_ctrl_c_keeps_what_was_finished(graph: fl.ChannelGraph, client: Client):
    def interrupt(curves: fl.Curves) -> None:
        raise KeyboardInterrupt

    curves = run(graph, None, client=client, on_update=interrupt)
    assert curves.frame["samples"].unique().tolist() == [10]


class Picky(nn.Module):
    """Fails on workers only, and only for batches larger than it likes."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.inner, self.words, self.home = small_network(), words, os.getpid()

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.home and len(x) > 3:
            raise RuntimeError(self.words)
        return self.inner(x)


def test_errors_of_workers_come_with_their_words(client: Client):
    graph = fl.trace(Picky("no such luck"), small_task().example_input)
    with pytest.raises(RuntimeError, match="no such luck"):
        run(graph, None, client=client)


def test_out_of_memory_on_a_worker_halves_the_batch(graph: fl.ChannelGraph, client: Client, tmp_path: Path):
    graph = fl.trace(Picky("not enough memory: you tried to allocate 7 GB"), small_task().example_input)
    with pytest.warns(RuntimeWarning, match="out of memory with"):
        there = run(graph, tmp_path, client=client)
    assert there.complete
    assert there.frame["samples"].unique().tolist() == [40]
    error = OutOfMemory(4, "words")
    assert (type(error)(*error.args).samples, str(error)) == (
        4,
        "out of memory with 4 samples in one forward pass (words)",
    )


def test_what_cannot_be_sent_is_named(graph: fl.ChannelGraph, client: Client):
    task = small_task()
    task.val.lock = threading.Lock()
    with pytest.raises(TypeError, match="task Classification.* cannot be sent to the workers: .*lock"):
        run(graph, None, task=task, client=client)
    model = small_network()
    model.lock = threading.Lock()
    with pytest.raises(TypeError, match="the model Sequential cannot be sent to the workers: .*lock"):
        run(fl.trace(model, graph.example_input), None, client=client)
    with pytest.raises(TypeError, match="client must be a dask.distributed.Client that is not asynchronous; got 'tcp"):
        run(graph, None, client="tcp://127.0.0.1:8786")

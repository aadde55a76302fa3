"""A sweep over many processes or machines, by dask.distributed. This file is imported only when a client is given."""

from __future__ import annotations

import io
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from threading import Event

import cloudpickle
import torch
from distributed import Client, Future, Worker, WorkerPlugin, get_worker, wait

from fpgmlab.sensitivity.store.work import Bench, Live, Part, Stop, SweepJob, Work, opened

ASK = 0.1  # seconds between two questions whether to stop


class Workplace(WorkerPlugin):
    """Gives each worker, also one that joins late, the job once; it opens it when its first part arrives.

    All of it happens on one thread of its own: torch's switches (no_grad, autocast) are the thread's, other tasks on
    this worker shall not notice, and a model can do one thing at a time.
    """

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def setup(self, worker: Worker) -> None:
        """Get the thread ready."""
        self._stopped, self._open = Event(), ExitStack()
        self._bench: Bench | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fpgmlab")

    def teardown(self, worker: Worker) -> None:
        """Stop before the next forward pass and let everything go."""
        self._stopped.set()
        self._thread.submit(self._open.close)
        self._thread.shutdown(wait=False)

    def measure(self, start: int, end: int, live: Sequence[int]) -> Part | None:
        """Return what some samples say of some points; None when the sweep was stopped."""
        return self._thread.submit(self._measure, start, end, live).result()

    def _measure(self, start: int, end: int, live: Sequence[int]) -> Part | None:
        if self._bench is None:
            job: SweepJob = torch.load(io.BytesIO(self._packed), map_location="cpu", weights_only=False)
            # The one of its GPUs that this worker sees first; see CUDA_VISIBLE_DEVICES.
            job.graph.model.to("cuda" if torch.cuda.is_available() else "cpu")
            self._bench = self._open.enter_context(opened(job))
        return self._bench.measure(start, end, live, self._stopped.is_set)


def _measure(name: str, start: int, end: int, live: Sequence[int]) -> Part | None:
    workplace = get_worker().plugins[name]
    if not isinstance(workplace, Workplace):
        raise TypeError(f"the plugin {name!r} of this worker must be a Workplace; got {type(workplace).__name__}")
    return workplace.measure(start, end, live)


@contextmanager
def spread(client: Client, job: SweepJob, stop: Stop | None) -> Iterator[Work]:
    """Give the work of all of a client's workers: parts in order, each as if it had been measured here.

    A part whose worker is lost is measured by another one. Parts are handed out ahead, so that points that are
    finished meanwhile may have been measured once too often: the sweep leaves those out.

    Raises
    ------
    TypeError
        When there is no client that can be waited for, or the model or the task cannot be sent.
    """
    if not isinstance(client, Client) or client.asynchronous:
        raise TypeError(f"client must be a dask.distributed.Client that is not asynchronous; got {client!r}")
    name = f"fpgmlab-sweep-{uuid.uuid4().hex}"
    client.register_plugin(Workplace(_packed(job)), name=name)
    try:
        yield lambda where, live: _work(client, name, where, live, stop)
    finally:
        with suppress(OSError):  # when the cluster is gone
            client.unregister_worker_plugin(name)


def _work(client: Client, name: str, where: Iterable[tuple[int, int]], live: Live, stop: Stop | None) -> Iterator[Part]:
    waiting = iter(where)
    ahead: deque[Future] = deque()
    try:
        while (points := live()) and not (stop is not None and stop()):
            for start, end in waiting:
                key = f"{name}-{start}-{end}-{uuid.uuid4().hex}"
                ahead.append(client.submit(_measure, name, start, end, points, key=key, pure=False))
                if len(ahead) >= 2 * max(1, len(client.nthreads())):  # enough that no worker waits for the next
                    break
            if not ahead:
                return
            while not _ended(ahead[0]):
                if stop is not None and stop():
                    return
            part = ahead.popleft().result()
            if part is None:
                return
            yield part
    finally:
        client.cancel(list(ahead))


def _ended(future: Future) -> bool:
    try:
        wait([future], timeout=ASK)
    except TimeoutError:
        return False
    return True


def _packed(job: SweepJob) -> bytes:
    task = job.task
    if is_dataclass(task):  # data that is not needed there is not sent
        own = {field.name for field in fields(task)}
        if "test" in own:
            task = replace(task, test=None)
        if not job.recalibrate and {"train", "val"} <= own:
            task = replace(task, train=task.val)
    try:
        return _pickled(replace(job, task=task))
    except Exception as error:
        what = f"the model {type(job.graph.model).__name__}" if _stuck(job.graph) else f"task {task!r:.60}"
        raise TypeError(
            f"{what} cannot be sent to the workers: {type(error).__name__}: {error}. What it holds must be picklable: "
            "no open files, locks or generators."
        ) from error


def _stuck(value: object) -> bool:
    try:
        _pickled(value)
    except Exception:
        return True
    return False


def _pickled(value: object) -> bytes:
    # By torch.save, so that tensors on a GPU can be read where there is none; by cloudpickle, for classes in notebooks.
    buffer = io.BytesIO()
    torch.save(value, buffer, pickle_module=cloudpickle, pickle_protocol=cloudpickle.DEFAULT_PROTOCOL)
    return buffer.getvalue()

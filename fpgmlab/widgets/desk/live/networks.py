"""The networks of a plan, as cut and repaired, made on a private copy of the graph; given up when not wanted."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.inputs import inputs_of
from fpgmlab.common.trimming import trim_memory
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.plans.plan import Plan
from fpgmlab.recovery.repairing import Options, Repairs
from fpgmlab.surgery.pruning import prune
from fpgmlab.tasks.task import Task

MEMORY = 1e9  # bytes that remembered activations may take
KEPT = 4  # networks of each kind that are kept: undo and redo, two plans side by side


class Superseded(BaseException):
    """Something else is to be measured now; no code of a network shall take it for an error."""


class Networks:
    """Makes the pruned and the repaired network of plans.

    Parameters
    ----------
    graph : ChannelGraph
        Is copied: cells may change its network.
    task : task
        Has the pictures to repair with.
    samples : int, optional
        How many of them; see `fpgmlab.repair`.
    """

    def __init__(self, graph: ChannelGraph, task: Task, samples: int | None = None) -> None:
        self._theirs, self._versions = graph.model, _versions(graph.model)
        self.graph = copy.deepcopy(graph)
        self._task, self._samples = task, samples
        self._repairs: Repairs | None = None
        self._made: dict[str, OrderedDict[str, nn.Module]] = {"as cut": OrderedDict(), "repaired": OrderedDict()}

    def stale(self) -> bool:
        """Tell whether the network that was copied has other weights by now."""
        versions = _versions(self._theirs)
        if versions == self._versions:
            return False
        self._versions = versions
        before = self.graph.model.state_dict()
        return any(not torch.equal(tensor, before[name]) for name, tensor in self._theirs.state_dict().items())

    def warm(self, check: Callable[[], None]) -> None:
        """Do what all repairs have in common."""
        self._repairs_made(check).look(_stopping(check))

    def as_cut(self, plan: Plan, digest: str) -> nn.Module:
        """Return the network as `fpgmlab.prune` gives it."""
        model = self._kept("as cut", digest)
        return self._keep("as cut", digest, prune(self.graph, plan).eval()) if model is None else model

    def repaired(
        self, plan: Plan, digest: str, check: Callable[[], None], on_layer: Callable[[int, int], None]
    ) -> nn.Module:
        """Return the network as `fpgmlab.repair` gives it.

        Parameters
        ----------
        plan : Plan
        digest : str
        check : callable
            Called often; may raise `Superseded`.
        on_layer : callable
            Called with the number of layers that are done, and of all.
        """
        model = self._kept("repaired", digest)
        if model is None:
            model = self._repaired(plan, check, on_layer)
            self._keep("repaired", digest, model)
        return model

    def _repaired(self, plan: Plan, check: Callable[[], None], on_layer: Callable[[int, int], None]) -> nn.Module:
        done = 0

        def refitted(row: Mapping[str, Any]) -> None:
            nonlocal done
            done += 1
            on_layer(done, row["layers"])

        try:
            return self._repairs_made(check).of(plan, stop=_stopping(check), on_layer=refitted).eval()
        finally:
            trim_memory()  # a repair's threads leave hundreds of megabytes in malloc's arenas

    def _repairs_made(self, check: Callable[[], None]) -> Repairs:
        if self._repairs is None:
            check()
            samples = self._samples
            fewer = samples is None or getattr(self._task, "augment", None) is None
            task = Interruptible(self._task, check)
            batches = inputs_of(task, samples or enough_pictures(self.graph), at_most=fewer)
            self._repairs = Repairs(self.graph, batches, Options(None, None, "active", 0, MEMORY))
        return self._repairs

    def _kept(self, kind: str, digest: str) -> nn.Module | None:
        if digest in self._made[kind]:
            self._made[kind].move_to_end(digest)
        return self._made[kind].get(digest)

    def _keep(self, kind: str, digest: str, model: nn.Module) -> nn.Module:
        self._made[kind][digest] = model
        if len(self._made[kind]) > KEPT:
            self._made[kind].popitem(last=False)
        return model


class Interruptible:
    """A task whose training pictures are read only as long as nothing else is to be done.

    Parameters
    ----------
    task : task
    check : callable
        Called before each batch; may raise an exception.
    """

    def __init__(self, task: Task, check: Callable[[], None]) -> None:
        self._task, self._check = task, check

    def __getattr__(self, name: str) -> Any:  # whatever the task has
        return getattr(self._task, name)

    def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[object, object]]:
        """Yield the task's own batches."""
        for batch in self._task.train_batches(batch_size, seed):
            self._check()
            yield batch


@contextmanager
def checked(model: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call a function before each module of a network runs; what it raises ends the pass."""
    leaves = (module for module in model.modules() if next(module.children(), None) is None)
    handles = [leaf.register_forward_pre_hook(lambda module, args: check()) for leaf in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _stopping(check: Callable[[], None]) -> Callable[[], bool]:
    def stop() -> bool:
        check()
        return False

    return stop


def _versions(model: nn.Module) -> list[tuple[int, int]]:
    tensors: Iterator[Tensor] = (tensor for each in (model.parameters(), model.buffers()) for tensor in each)
    return [(id(tensor), tensor._version) for tensor in tensors]

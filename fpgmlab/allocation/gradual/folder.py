"""The steps of a gradual pruning in a folder: killed at any moment, it goes on after the last finished one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from fpgmlab.checkpoints.weights import read_weights
from fpgmlab.common.digests import described, digest
from fpgmlab.common.files import as_path, is_free, remove_unfinished, write_text
from fpgmlab.common.modules import device_of, tensors_in
from fpgmlab.common.warned import warn
from fpgmlab.models.saving import load, save
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import provenance
from fpgmlab.sensitivity.store.fingerprint import differences, identity
from fpgmlab.tasks.task import Task

FORMAT = "fpgmlab-gradual/1"
_HEAD = "gradual.json"
_FEW = 64  # examples of the data that are digested


@dataclass(frozen=True, eq=False)
class State:
    """What there is after a step.

    Attributes
    ----------
    number : int
        Of the step; 0 before the first.
    network : nn.Module
    gone : Plan
        All that was cut from the model.
    rows : tuple of dict
        The history.
    """

    number: int
    network: nn.Module
    gone: Plan
    rows: tuple[Mapping[str, Any], ...]


class Folder:
    """A folder with ``gradual.json``, what the pruning was made from, and a file for the network of each step.

    Each file holds the history up to its step in its record as well, so that step and history are written at once.

    Parameters
    ----------
    path : path-like
    model : nn.Module
        The network before the first step.
    options : mapping
        Whatever else decides the result, by name.
    task : task

    Raises
    ------
    ValueError
        When the folder holds another pruning, with what differs, or something else.
    OSError
        When it cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: nn.Module, options: Mapping[str, object], task: Task
    ) -> None:
        self.path, self._model = as_path(path), model
        head = self.path / _HEAD
        words = {key: text for name, value in options.items() for key, text in told(name, value)}
        now = json.loads(json.dumps(identity(model, {}, {}, words | data_of(task))))
        if not head.exists() and not is_free(self.path):
            raise ValueError(f"{str(path)!r} is there and holds no gradual pruning. Choose a new folder.")
        remove_unfinished(self.path)
        if not head.exists():
            write_text(head, json.dumps({"format": FORMAT, **now}, indent=1))
            return
        try:
            stored = json.loads(head.read_text(encoding="utf-8"))
            written_by = stored.pop("format")
            found = differences(stored, now)
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{str(head)!r} is damaged or of something else ({error!r}). {self._cure}") from error
        if written_by != FORMAT:
            raise ValueError(f"{str(head)!r} has format {written_by!r}; this version goes on with {FORMAT!r}.")
        if found:
            raise ValueError(f"{str(path)!r} holds another gradual pruning. {'; '.join(found)}. {self._cure}")

    def load(self, nothing: Plan) -> State | None:
        """Return what there was after the last finished step; None when there was none, not even the unpruned network.

        ``nothing`` is what is gone before the first step.
        """
        files = sorted(self.path.glob("step-*.safetensors"))
        if not files:
            return None
        try:
            network = load(files[-1], self._model)
            notes = read_weights(files[-1]).record["notes"]
            number, rows = notes["step"], tuple(notes["history"])
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{str(files[-1])!r} is damaged: {error}. Remove it to go on from the step before."
            ) from error
        modes = {name: module.training for name, module in self._model.named_modules()}
        for name, module in network.named_modules():
            module.training = modes[name]
        gone = provenance(network).plans[-1] if number else nothing
        return State(number, network.to(device_of(self._model)), gone, rows)

    def save(self, state: State) -> None:
        """Write a finished step; at any moment it is there whole or not at all.

        When the disk is full, a warning says so, and the steps before are still there; not for the first file, which
        shows whether anything can be written.
        """
        path, notes = self.path / f"step-{state.number:03}.safetensors", {"step": state.number}
        try:
            save(state.network, path, notes | {"history": list(state.rows)})
        except (OSError, SafetensorError) as error:
            if not state.number:
                raise
            warn(
                f"{str(path)!r} could not be written: {error}. The pruning goes on; killed, it would go on from a step "
                "before.",
            )  # fmt: skip

    @property
    def _cure(self) -> str:
        return f"Choose another path, or delete the folder {str(self.path)!r} to start anew."


def told(name: str, value: object) -> Iterator[tuple[str, str | float | None]]:
    """Yield in words what an option is: the fields of dataclasses one by one, networks and tensors by their digests."""
    if value is None or isinstance(value, (str, int, float)):
        yield name, value
    elif isinstance(value, nn.Module):
        yield name, f"{type(value).__name__} {digest(dict(value.state_dict()))}"
    elif isinstance(value, Tensor):
        yield name, f"tensor {digest(value)}"
    elif is_dataclass(value) and not isinstance(value, type):
        yield name, type(value).__name__
        for field in fields(value):
            yield from told(f"{name}.{field.name}", getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from told(f"{name}[{key!r}]", item)
    elif isinstance(value, (list, tuple)):
        yield name, f"{len(value)} of them"
        for place, item in enumerate(value):
            yield from told(f"{name}[{place}]", item)
    elif hasattr(value, "__qualname__"):
        yield name, f"{value.__module__}.{value.__qualname__}"
    else:
        yield name, described(value)


def data_of(task: Task) -> dict[str, str]:
    """Return what tells a task's data from others': how much there is, and digests of a few examples."""
    found = {"task": type(task).__name__}
    for part in ("train", "val"):
        if (data := getattr(task, part, None)) is not None:
            found[f"{part} examples"] = str(len(data))
    for part, batches in (("train", task.train_batches(_FEW, seed=0)), ("val", task.val_batches(_FEW, _FEW))):
        found[f"{part} data"] = digest([list(tensors_in(batch)) for batch in islice(batches, 1)])
    return found

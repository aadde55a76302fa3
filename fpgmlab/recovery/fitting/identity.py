"""What a training was made from: enough to tell whether another one would go the same way, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from fpgmlab.common.digests import described, digest
from fpgmlab.common.modules import split_name
from fpgmlab.errors import few
from fpgmlab.recovery.extras.extra import Extra
from fpgmlab.recovery.fitting.options import Options
from fpgmlab.tasks.task import Task

Identity = dict[str, dict[str, Any]]  # by part ("modules", "weights", ...), then by name


def identity(model: nn.Module, task: Task, extras: Sequence[Extra], options: Options, processes: int) -> Identity:
    """Return what a training depends on, as it is before the first step: texts, numbers and digests.

    What the code of a ``forward`` or of a data set does, is not looked at; of the data their number and the first
    validation example count.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        "modules": {name: f"{type(m).__name__}({described(m.extra_repr(), str)})" for name, m in modules.items()},
        "weights": weights(model.state_dict()),
        "task": {
            "kind": type(task).__name__,
            "name": getattr(task, "name", ""),
            "metric": task.metric_name,
            "training examples": len(task.train),
            "validation examples": len(task.val),
            "augmentation": described(getattr(task, "augment", None)),
            "first validation example": digest(next(iter(task.val_batches(1, 1)))),
        },
        "extras": {f"{number}": mark(extra) for number, extra in enumerate(extras, 1)},
        "options": {**asdict(options), "processes": processes},
    }


def weights(state: Mapping[str, Any]) -> dict[str, str]:
    """Return digests of a network's state."""
    return {name: digest(value) for name, value in state.items()}


def mark(extra: Extra) -> str:
    """Return an extra in words, with digests of the networks and tensors that it holds."""
    held = {}
    for name, value in getattr(extra, "__dict__", {}).items():
        if isinstance(value, nn.Module):
            held[name] = digest(value.state_dict())
        elif isinstance(value, Tensor):
            held[name] = digest(value)
    return described(extra) + "".join(f" {name} {value}" for name, value in held.items())


def differences(stored: Identity, now: Identity) -> list[str]:
    """Return in words what differs; empty when nothing does."""
    found = []
    for part, words in (("modules", "the network's modules"), ("weights", "the network's weights before the training")):
        names = _different(stored.get(part, {}), now[part])
        if part == "weights":
            names = list(dict.fromkeys(split_name(name)[0] for name in names))
        if names:
            found.append(f"{words} {few(names, 3)}")
    for part, words in (("task", "the task's "), ("extras", "extra "), ("options", "")):
        old, new = stored.get(part, {}), now[part]
        found += [f"{words}{name}: there {old.get(name)!r}, now {new.get(name)!r}" for name in _different(old, new)]
    return found


def _different(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**now, **stored} if name not in stored or name not in now or stored[name] != now[name]]

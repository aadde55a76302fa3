"""What a sweep was made from, in digests: enough to tell whether another one would be the same, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from fpgmlab.common.digests import described, digest
from fpgmlab.common.modules import split_name
from fpgmlab.plans.rounding import Scores

Identity = Mapping[str, Mapping[str, Any]]  # by part ("model", "scores", ...), then by name


def identity(model: nn.Module, scores: Scores, widths: Mapping[str, int], options: Mapping[str, Any]) -> Identity:
    """Return what a sweep depends on besides its data.

    Parameters
    ----------
    model : nn.Module
        Its modules' classes and settings and all its tensors count. What the code of a ``forward`` does, does not.
    scores : mapping of str to Tensor
    widths : mapping of str to int
        The groups that are swept, with their channels.
    options : mapping
        Whatever else changes the result; JSON-like.
    """
    tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        "modules": {name: f"{type(m).__name__}({described(m.extra_repr(), str)})" for name, m in modules.items()},
        "weights": {name: digest(tensor) for name, tensor in tensors.items()},
        "groups": dict(widths),
        "scores": {name: digest(scores[name]) for name in widths},
        "options": dict(options),
    }


def differences(stored: Identity, now: Identity) -> list[str]:
    """Return in words what differs between what was stored and what is asked for; empty when nothing does."""
    weights = [split_name(name)[0] for name in _different(stored.get("weights", {}), now["weights"])]
    found = []
    for words, names in (
        ("model: module", _different(stored.get("modules", {}), now["modules"])),
        ("model: weights of", list(dict.fromkeys(weights))),
        ("groups:", _different(stored.get("groups", {}), now["groups"])),
        ("scores of group", _different(stored.get("scores", {}), now["scores"])),
    ):
        if names:
            found.append(f"{words} {_some(names)}")
    old, new = stored.get("options", {}), now["options"]
    return found + [f"{name}: stored {old.get(name)!r}, now {new.get(name)!r}" for name in _different(old, new)]


def _different(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**now, **stored} if name not in stored or name not in now or stored[name] != now[name]]


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return repr(first) + (f" and {len(others)} more" if others else "")

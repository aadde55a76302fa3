"""What the browser asks of the kernel, checked: nothing that it sends may do harm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from fpgmlab.errors import unknown
from fpgmlab.widgets.common.seat import seat

DESK = "on the desk"
Side = int | str | None  # a snapshot's id, `DESK`, or None for the unpruned network
BUDGETS = {"macs": "MACs", "params": "parameters", "bytes": "bytes", "latency": "milliseconds"}
METHODS = ("allocate", "equal_loss")
DO = (
    "evaluate", "prune", "repair", "fine-tune", "export", "save", "budget", "code", "cancel", "confirm", "exchange",
    "criterion", "look", "filters", "compare",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What shall be done, with its options: all of the type and within the range that they must have.

    Attributes
    ----------
    do : str
        One of `DO`.
    path : str
        To save to, or to export into.
    method, kind : str
    share : float
        Of a budget.
    epochs : int
    lr : float
    kept : tuple of int
        Numbers of channels that a pointer passes by.
    """

    do: str
    path: str = ""
    method: str = ""
    kind: str = ""
    share: float = 0.0
    epochs: int = 0
    lr: float = 0.0
    group: int = 0
    stay: int = 0
    go: int = 0
    a: Side = None
    b: Side = None
    kept: tuple[int, ...] = ()


def read_request(content: object) -> Request:
    """Return what a message asks for.

    Raises
    ------
    ValueError
        For what is not understood, with what would be.
    """
    if not isinstance(content, Mapping) or "do" not in content:
        raise ValueError(f"a message must say what to do; got {content!r}")
    do = content["do"]
    if do not in DO:
        raise ValueError(unknown("request", do, DO))
    if do in ("save", "export"):
        word = "path" if do == "save" else "folder"
        path = content.get(word)
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            raise ValueError(f"{do}: give the name of a {'file' if do == 'save' else 'folder'}; got {path!r}")
        return Request(do, path=path.strip())
    if do == "budget":
        method, kind, share = content.get("method"), content.get("kind"), content.get("share")
        if method not in METHODS:
            raise ValueError(unknown("method", method, METHODS))
        if kind not in tuple(BUDGETS):  # it may be anything, also what no mapping takes
            raise ValueError(unknown("budget", kind, BUDGETS))
        if not _number(share) or not 0 < share <= 1:
            raise ValueError(f"a budget must be the share that may remain, above 0 % and up to 100 %; got {share!r}")
        return Request(do, method=method, kind=kind, share=float(share))
    if do in ("exchange", "criterion", "filters"):
        group = _place(do, "group", content.get("group"))
        if do != "exchange":
            return Request(do, group=group)
        stay, go = (_place(do, word, content.get(word)) for word in ("stay", "go"))
        return Request(do, group=group, stay=stay, go=go)
    if do == "look":
        kept = content.get("kept")
        if not isinstance(kept, list) or not all(type(count) is int for count in kept):
            raise ValueError(f"look: give the numbers of channels kept, a list; got {kept!r}")
        return Request(do, kept=tuple(kept))
    if do == "compare":
        a, b = (_side(word, content.get(word)) for word in ("a", "b"))
        return Request(do, a=a, b=b)
    if do == "fine-tune":
        epochs, lr = checked_training(content.get("epochs"), content.get("lr"))
        return Request(do, epochs=epochs, lr=lr)
    return Request(do)


def place_of(request: Request) -> Path:
    """Return where to write: where the request says; for a visitor of a class the desk's folder, whatever it says."""
    number = seat()
    if number is None:
        return Path(request.path).expanduser()
    return Path(f"desk-{number}") / ("plan.json" if request.do == "save" else "export")


def checked_training(epochs: object, lr: object) -> tuple[int, float]:
    """Return a number of epochs and a learning rate; raise a `ValueError` where they cannot be."""
    if type(epochs) is not int or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1; got {epochs!r}")
    if not _number(lr) or lr <= 0:
        raise ValueError(f"the learning rate must be a number above 0; got {lr!r}")
    return epochs, float(lr)


def _side(word: str, value: object) -> Side:
    if value is not None and value != DESK and type(value) is not int:
        raise ValueError(f"compare: {word} must be the id of a snapshot, {DESK!r}, or nothing; got {value!r}")
    return value if isinstance(value, int) or value is None else DESK


def _place(do: str, word: str, value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{do}: {word} must be a whole number of at least 0; got {value!r}")
    return value


def _number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

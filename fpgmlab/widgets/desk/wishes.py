"""What the browser asks of the kernel, checked: nothing that it sends may do harm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpgmlab.errors import unknown

if TYPE_CHECKING:
    from fpgmlab.widgets.desk.bars import Bars
    from fpgmlab.widgets.plan_editor import PlanEditor

BUDGETS = {"macs": "MACs", "params": "parameters", "bytes": "bytes", "latency": "latency"}
METHODS = ("allocate", "equal_loss")
DO = ("evaluate", "prune", "fine-tune", "export", "save", "budget", "cancel", "confirm")


@dataclass(frozen=True)
class Wish:
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
    """

    do: str
    path: str = ""
    method: str = ""
    kind: str = ""
    share: float = 0.0
    epochs: int = 0
    lr: float = 0.0


def read_wish(content: object) -> Wish:
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
        raise ValueError(unknown("wish", do, DO))
    if do in ("save", "export"):
        word = "path" if do == "save" else "folder"
        path = content.get(word)
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            raise ValueError(f"{do}: give the name of a {'file' if do == 'save' else 'folder'}; got {path!r}")
        return Wish(do, path=path.strip())
    if do == "budget":
        method, kind, share = content.get("method"), content.get("kind"), content.get("share")
        if method not in METHODS:
            raise ValueError(unknown("method", method, METHODS))
        if kind not in tuple(BUDGETS):  # it may be anything, also what no mapping takes
            raise ValueError(unknown("budget", kind, BUDGETS))
        if not _number(share) or not 0 < share <= 1:
            raise ValueError(f"a budget must be the share that may remain, above 0 % and up to 100 %; got {share!r}")
        return Wish(do, method=method, kind=kind, share=float(share))
    if do == "fine-tune":
        epochs, lr = content.get("epochs"), content.get("lr")
        check_training(epochs, lr)
        return Wish(do, epochs=epochs, lr=float(lr))
    return Wish(do)


def check_training(epochs: object, lr: object) -> None:
    """Raise a `ValueError` for a number of epochs or a learning rate that cannot be."""
    if type(epochs) is not int or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1; got {epochs!r}")
    if not _number(lr) or lr <= 0:
        raise ValueError(f"the learning rate must be a number above 0; got {lr!r}")


def carry_out(editor: PlanEditor, bars: Bars, wish: Wish) -> str:
    """Do what was asked for; return what there is to say of it, or nothing.

    Raises
    ------
    Exception
        Whatever the editor's method raises.
    """
    if wish.do == "budget":
        plan = editor.fit_budget(wish.method, **{wish.kind: wish.share})
        remains, count = bars.totals(plan)[wish.kind] / bars.totals(bars.nothing)[wish.kind], len(editor.locked)
        held = f", {count} bar{'s' if count > 1 else ''} locked" if count else ""
        return f"{100 * wish.share:.1f} % of the {BUDGETS[wish.kind]}: {100 * remains:.1f} % remain{held}"
    path = Path(wish.path).expanduser()
    if wish.do == "save":
        editor.save(path)
        return f"Saved to {path}"
    acts = {
        "evaluate": editor.evaluate,
        "prune": editor.prune,
        "fine-tune": lambda: editor.fine_tune(wish.epochs, wish.lr),
        "export": lambda: editor.export(path),
        "cancel": editor.cancel,
        "confirm": lambda: editor.send_state("confirmed"),  # is there anybody?
    }
    acts[wish.do]()
    return ""


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

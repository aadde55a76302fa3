"""What became of each layer of a repaired network, noted on the network itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    import pandas as pd

_REPORT = "_fpgmlab_repair"
_COLUMNS = ["layer", "target", "equations", "unknowns", "before", "after", "ridge", "note", "seconds"]


def repair_report(model: nn.Module) -> pd.DataFrame:
    """Return what became of each layer of a repaired network.

    Parameters
    ----------
    model : nn.Module
        As `fpgmlab.repair` gives it, or a copy.

    Returns
    -------
    pandas.DataFrame
        A row for each convolution and linear layer, three for what `torch.nn.MultiheadAttention` makes of its inputs,
        in the order of execution: layer; target ("output", or "sum" of a
        residual block, with the activation that follows); equations and unknowns of each output; before and after,
        the squared error on held-out positions relative to the variance of what the layer shall give; ridge; note, such
        as why weights were kept; seconds. ``attrs["interrupted"]`` tells whether layers are missing.

    Raises
    ------
    ValueError
        For a network that was not repaired, or loaded from a file.
    """
    import pandas as pd

    report = getattr(model, _REPORT, None)
    if report is None:
        raise ValueError(f"this {type(model).__name__} was not repaired here: fpgmlab.repair gives one that was")
    rows, interrupted = report
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    frame.attrs["interrupted"] = interrupted
    return frame


def note_report(model: nn.Module, rows: Sequence[dict[str, Any]], missing: Sequence[str], interrupted: bool) -> None:
    """Note the rows of the layers that were called, and the names of those that were not."""
    never: dict[str, Any] = {"target": "", "equations": 0, "unknowns": 0, "note": "never ran", "seconds": 0.0}
    nothing = dict.fromkeys(("before", "after", "ridge"), math.nan)
    others = ({"layer": name} | never | nothing for name in missing)
    object.__setattr__(model, _REPORT, ([*rows, *others], interrupted))

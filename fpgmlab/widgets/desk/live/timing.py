"""The real network's milliseconds, beside those that a table says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fpgmlab.widgets.desk.payload import Json

if TYPE_CHECKING:
    from torch import nn

    from fpgmlab.deployment import LatencyTable

ROUNDS = 30


def timed(model: nn.Module, example_input: object, table: LatencyTable) -> Json | None:
    """Run a network in a table's runtime, here and now.

    Returns
    -------
    dict or None
        ``ms``, the median; ``low`` and ``high``, the 10th and 90th percentile; ``runtime``. None where it cannot be
        compared with the table: of INT8, or where the runtime does not take the network.
    """
    from fpgmlab.deployment import benchmark

    if table.dtype != "float32":
        return None
    found = benchmark(
        {"plan": model}, example_input, runtimes=[table.runtime], batch=table.batch, threads=table.machine.threads,
        rounds=ROUNDS, memory=False,
    ).iloc[0]  # fmt: skip
    if not math.isfinite(found["median_ms"]):
        return None
    values = {
        name: float(found[f"{column}_ms"]) for name, column in (("ms", "median"), ("low", "low"), ("high", "high"))
    }
    return values | {"runtime": table.runtime}

"""Networks timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

SECONDS = 1.0  # that each network is timed for, at most, beyond the least number of rounds
LEAST_ROUNDS, MOST_ROUNDS = 7, 200


def medians(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median milliseconds of each; they take turns, so that a slow moment meets all of them."""
    first: dict[str, float] = {}
    for name, run in runs.items():
        for _ in range(2):  # the first pass also allocates
            started = time.perf_counter()
            run()
            first[name] = time.perf_counter() - started
    rounds = int(np.clip(SECONDS / max(first.values()), LEAST_ROUNDS, MOST_ROUNDS))
    found: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for round_ in range(rounds):
        for name in order if round_ % 2 else reversed(order):
            started = time.perf_counter()
            runs[name]()
            found[name].append(1e3 * (time.perf_counter() - started))
    return {name: float(np.median(values)) for name, values in found.items()}

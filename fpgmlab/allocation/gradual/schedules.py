"""How much remains after each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

# From the share of the steps that are done to the share of what shall go that is gone.
SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType({
    "cubic": lambda done: 1 - (1 - done) ** 3,
    "linear": lambda done: done,
})  # fmt: skip


def remaining(schedule: str, target: float, steps: int) -> list[float]:
    """Return what may remain after each step, as a fraction of the unpruned network, down to the target.

    ``"cubic"`` is eq. 1 of Zhu & Gupta (*To prune, or not to prune*, arXiv:1710.01878, 2017) with sparsity 0 at the
    beginning and 1 - target at the end: much goes while there is much, little at the end.
    """
    gone = SCHEDULES[schedule]
    return [1 - (1 - target) * gone(step / steps) for step in range(1, steps)] + [target]

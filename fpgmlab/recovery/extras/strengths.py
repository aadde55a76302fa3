"""How strong a penalty is at each step of a training."""

from __future__ import annotations

import math

from fpgmlab.errors import one_of

# From 1 at the start of the sparse part of a training (0) to its end (1).
SCHEDULES = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "constant": lambda t: 1.0,
}


def check_strength(strength: float, schedule: str, clean: float) -> None:
    """Raise a `ValueError` for a strength, a schedule or a clean share that is out of range."""
    if not (strength >= 0 and math.isfinite(strength)):
        raise ValueError(f"strength must be a number >= 0; got {strength}")
    if schedule not in SCHEDULES:
        raise ValueError(one_of("schedule", schedule, SCHEDULES))
    if not 0 <= clean <= 1:
        raise ValueError(f"clean must be a share of the steps, 0 to 1; got {clean}")


def strength_at(strength: float, schedule: str, clean: float, step: int, steps: int) -> float:
    """Return the strength in step number ``step`` of ``steps`` (from 1): it falls, and is zero in the clean ones."""
    sparse = (1 - clean) * steps
    if step > sparse:
        return 0.0
    return strength * SCHEDULES[schedule]((step - 1) / sparse)

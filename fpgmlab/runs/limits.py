"""The ranges of options that are numbers, so that a run file with others ends before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """Which numbers an option may be.

    Parameters
    ----------
    words : str
        What they are.
    holds : callable
        Whether a number is one of them; infinity and NaN are asked as well.
    """

    words: str
    holds: Callable[[float], bool]

    def wrong(self, value: object, place: str) -> list[str]:
        """Return what is wrong with a value, or with those in a list or table; what is no number has no range."""
        if isinstance(value, Mapping):
            return [each for key, inner in value.items() for each in self.wrong(inner, f"{place}.{key}")]
        if isinstance(value, list | tuple):
            return [each for number, inner in enumerate(value) for each in self.wrong(inner, f"{place}[{number}]")]
        if isinstance(value, bool) or not isinstance(value, int | float) or self.holds(value):
            return []
        return [f"{place} must be {self.words}; got {value!r}"]


def _least(number: int) -> Limit:
    return Limit(f"a whole number of at least {number}", lambda value: value >= number)


NATURAL, COUNT = _least(0), _least(1)
BUDGET = Limit("the fraction that may remain, above 0 and at most 1", lambda value: 0 < value <= 1)
RATIO = Limit("the fraction that goes, at least 0 and below 1", lambda value: 0 <= value < 1)
SHARE = Limit("a fraction from 0 to 1", lambda value: 0 <= value <= 1)
BELOW_ONE = Limit("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
INNER = Limit("a fraction above 0 and below 1", lambda value: 0 < value < 1)
ABOVE = Limit("a number above 0", lambda value: value > 0)
FINITE = Limit("a finite number above 0", lambda value: 0 < value < math.inf)
ABSENT = Limit("a finite number of at least 0", lambda value: 0 <= value < math.inf)

# By the option's name, or by the function's and the option's where one name has several meanings. What depends on the
# network, the data or the machine is told by the functions themselves.
LIMITS: dict[str, Limit] = {
    **dict.fromkeys(("macs", "params", "bytes", "latency"), BUDGET),
    **dict.fromkeys(("ratio", "ratios", "shallow", "middle", "deep"), RATIO),
    **dict.fromkeys(("max_ratio", "floor", "clean", "flip", "flip_vertical", "shift", "colour", "mosaic"), SHARE),
    **dict.fromkeys(("target", "decay", "val_fraction"), INNER),
    **dict.fromkeys(("average", "norm_ratio", "distance_ratio", "scale"), BELOW_ONE),
    **dict.fromkeys(("lr", "Reconstruction.ridge"), FINITE),
    **dict.fromkeys(("memory", "sweep.tolerance", "temperature", "width"), ABOVE),
    **dict.fromkeys(("min_delta", "ridge", "strength", "weight"), ABSENT),
    **dict.fromkeys(
        (
            "accumulate", "batch", "batch_size", "channels", "classes", "detections", "epochs", "every", "holdout",
            "locked", "max_samples", "multiple", "opset", "patience", "positions", "repair_samples", "rounds",
            "samples", "size", "steps", "test", "threads", "train", "val", "warmup",
        ),
        COUNT,
    ),
    **dict.fromkeys(("fit.batch_size", "Fit.batch_size"), _least(2)),  # batch norm needs two
    **dict.fromkeys(("recalibrate", "workers", "repair.seed", "Repair.seed"), NATURAL),
}  # fmt: skip


def limit_of(function: str, option: str) -> Limit | None:
    """Return the range of a function's option; None where it has none, or none that a file alone can tell."""
    return LIMITS.get(f"{function}.{option}", LIMITS.get(option))

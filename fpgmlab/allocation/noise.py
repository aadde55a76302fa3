"""Whether curves tell anything apart from noise."""

from __future__ import annotations

import math

from fpgmlab.sensitivity import Curves
from fpgmlab.sensitivity.curves.frame import one_metric, worsening


def noise(curves: Curves, metric: str) -> str | None:
    """Return in words that no measured point is worse than the unpruned network by more than chance; None if one is.

    Judged by the curves' first metric, which the sweep was made for, as `fpgmlab.figures.sensitivity_map` draws it.

    Parameters
    ----------
    curves : Curves
    metric : str
        That the plan goes by.
    """
    name, rows = one_metric(curves.frame, None)
    worse = worsening(rows, curves.higher_is_better(name))
    measured = (rows["ratio"] > 0) & ~rows["group"].isin(curves.unmeasurable)
    unsure = measured & (worse["low"] <= 0) & (worse["high"] >= 0)
    if not measured.any() or unsure.sum() < measured.sum():
        return None
    by = "" if metric == name else f" (the plan goes by {metric})"
    if worse[measured][["low", "high"]].isin([-math.inf, math.inf]).all(axis=None):
        return (
            f"at none of the {measured.sum()} measured points has {name} a finite interval, which takes three batches: "
            f"on {int(rows['samples'].max())} samples these curves say nothing of chance{by}. Sweep with a smaller "
            "batch_size=, so that the same data make four batches or more; or more validation data."
        )
    return (
        f"at none of the {measured.sum()} measured points is {name} further from the unpruned network's than its "
        f"interval is wide, on {int(rows['samples'].max())} samples: these curves cannot be told from noise{by}. Sweep "
        "more validation data (a larger val, no max_samples), or larger ratios; a network that is hardly better than "
        "chance has to be trained first."
    )

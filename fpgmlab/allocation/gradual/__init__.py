"""Gradual pruning: cut a little, repaired or trained, cut again, down to a budget.

`schedules` says how much remains after each step, `lineage` which of the first network's channels are left, `between`
what is done between two cuts; `steps` cuts, `folder` keeps what is finished on disk.
"""

from fpgmlab.allocation.gradual.between import Fit, Repair
from fpgmlab.allocation.gradual.gradual import prune_gradually

__all__ = ["Fit", "Repair", "prune_gradually"]

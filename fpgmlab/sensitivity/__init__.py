"""Sensitivity: how each channel group alone bears pruning.

In: a graph, scores and a task. Out: `Curves`: a metric over the ratio of each group, with confidence intervals.
`curves` is what was measured, `replay` how a point is computed, `store` how progress is kept and spread.
"""

from fpgmlab.sensitivity.curves.curves import Curves
from fpgmlab.sensitivity.curves.ranking import ranking_table
from fpgmlab.sensitivity.curves.shipped import shipped
from fpgmlab.sensitivity.replay.replay import ReplayError, replaying
from fpgmlab.sensitivity.sweep import sweep

__all__ = ["Curves", "ReplayError", "ranking_table", "replaying", "shipped", "sweep"]

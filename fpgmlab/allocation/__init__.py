"""Allocation: from sensitivity curves to the plan that loses least within a budget.

In: a graph, curves and a budget. Out: a plan, what it is predicted to lose, and how far such a prediction holds; or
the network itself, pruned down to the budget step by step; and what criteria are worth at a budget.
"""

from fpgmlab.allocation.additivity import additivity
from fpgmlab.allocation.baselines import equal_loss
from fpgmlab.allocation.comparison import compare_criteria
from fpgmlab.allocation.degradation import predicted
from fpgmlab.allocation.gradual import Fit, Repair, prune_gradually
from fpgmlab.allocation.pareto import pareto_front
from fpgmlab.allocation.planner import allocate
from fpgmlab.deployment.staircases.measuring import latency_table
from fpgmlab.deployment.staircases.table import LatencyTable

__all__ = [
    "Fit", "LatencyTable", "Repair", "additivity", "allocate", "compare_criteria", "equal_loss", "latency_table",
    "pareto_front", "predicted", "prune_gradually",
]  # fmt: skip

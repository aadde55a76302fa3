"""Allocation: from sensitivity curves to the plan that loses least within a budget.

In: a graph, curves and a budget. Out: a plan, what it is predicted to lose, and how far such a prediction holds.
"""

from fpgmlab.allocation.additivity import additivity
from fpgmlab.allocation.baselines import equal_loss
from fpgmlab.allocation.degradation import predicted
from fpgmlab.allocation.pareto import pareto_front
from fpgmlab.allocation.planner import allocate
from fpgmlab.deployment.staircases.measuring import latency_table
from fpgmlab.deployment.staircases.table import LatencyTable

__all__ = ["LatencyTable", "additivity", "allocate", "equal_loss", "latency_table", "pareto_front", "predicted"]

"""Allocation: from sensitivity curves to the plan that loses least within a budget."""

from fpgmlab.allocation.additivity import additivity
from fpgmlab.allocation.baselines import equal_loss
from fpgmlab.allocation.degradation import predicted
from fpgmlab.allocation.latency import LatencyTable
from fpgmlab.allocation.planner import allocate
from fpgmlab.allocation.timing import latency_table

__all__ = ["LatencyTable", "additivity", "allocate", "equal_loss", "latency_table", "predicted"]

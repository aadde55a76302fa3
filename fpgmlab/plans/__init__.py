"""Plans: which channels of which group are removed; pure data.

In: a graph, scores, ratios or a budget. Out: a `Plan`, JSON on disk, and the provenance of the models that were
pruned by it.
"""

from fpgmlab.plans import thresholds
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import Provenance, provenance

__all__ = ["Plan", "Provenance", "provenance", "thresholds"]

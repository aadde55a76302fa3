"""Surgery: the channels of a plan taken out of a model, or out of its outputs only.

In: a graph and a plan. Out: a smaller ``nn.Module`` (`prune`), or the same outputs without cutting (`simulate`).
"""

from fpgmlab.surgery.agreement import agreement
from fpgmlab.surgery.pruning import prune
from fpgmlab.surgery.simulation import simulate
from fpgmlab.surgery.tracing import trace

__all__ = ["agreement", "prune", "simulate", "trace"]

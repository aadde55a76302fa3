"""Replay: how one point of a sweep is computed, with as little as can be computed twice.

In: a model, a batch, one group's channels to remove. Out: the outputs of the network without them; by running again
from where the change begins (recordings and fused kernels), by calling what it reaches, or by surgery.
"""

from fpgmlab.sensitivity.replay.replay import ReplayError, replaying

__all__ = ["ReplayError", "replaying"]

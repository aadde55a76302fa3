"""Replay: how one point of a sweep is computed, with as little as can be computed twice.

In: a model, a batch, one group's channels to remove. Out: the outputs of the network without them; by running again
from where the change begins (recordings and fused kernels), by calling what it reaches, or by surgery.
"""

from fpgmlab.sensitivity.replay.first_look import first_look
from fpgmlab.sensitivity.replay.measuring import measured
from fpgmlab.sensitivity.replay.points import RATIOS, Point, points
from fpgmlab.sensitivity.replay.pruned import running_pruned
from fpgmlab.sensitivity.replay.replay import ReplayError, replaying
from fpgmlab.sensitivity.replay.runners import Runner, running

__all__ = [
    "RATIOS",
    "Point",
    "ReplayError",
    "Runner",
    "first_look",
    "measured",
    "points",
    "replaying",
    "running",
    "running_pruned",
]

"""Sensitivity: how each channel group alone bears pruning."""

from fpgmlab.sensitivity.curves import Curves
from fpgmlab.sensitivity.replay import ReplayError, replaying
from fpgmlab.sensitivity.shipped import shipped
from fpgmlab.sensitivity.sweep import sweep

__all__ = ["Curves", "ReplayError", "replaying", "shipped", "sweep"]

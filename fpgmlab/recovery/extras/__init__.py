"""Extras of `fit`: small objects with one job each that add a loss term or act around a step. One file an extra."""

from fpgmlab.recovery.extras.distill import Distill
from fpgmlab.recovery.extras.early_stop import EarlyStop
from fpgmlab.recovery.extras.ema import EMA
from fpgmlab.recovery.extras.extra import Extra, RunningExtra
from fpgmlab.recovery.extras.gamma_l1 import GammaL1
from fpgmlab.recovery.extras.group_lasso import GroupLasso
from fpgmlab.recovery.extras.soft_pruning import SoftPruning
from fpgmlab.recovery.extras.zeros import plan_of_zeros

__all__ = [
    "EMA",
    "Distill",
    "EarlyStop",
    "Extra",
    "GammaL1",
    "GroupLasso",
    "RunningExtra",
    "SoftPruning",
    "plan_of_zeros",
]

"""Extras of `fit`: small objects with one job each that add a loss term or act around a step. One file an extra."""

from fpgmlab.recovery.extras.distill import Distill
from fpgmlab.recovery.extras.extra import Extra
from fpgmlab.recovery.extras.gamma_l1 import GammaL1

__all__ = ["Distill", "Extra", "GammaL1"]

"""Criteria: rules that give each channel a score; the lowest are removed first."""

from fpgmlab.criteria.fpgm import FPGM, FPGMMix
from fpgmlab.criteria.gammas import gammas
from fpgmlab.criteria.rules import L1, L2, BNGamma, Criterion, Custom, Random
from fpgmlab.criteria.scoring import NAMED, REDUCTIONS, filters, score

__all__ = [
    "FPGM",
    "L1",
    "L2",
    "NAMED",
    "REDUCTIONS",
    "BNGamma",
    "Criterion",
    "Custom",
    "FPGMMix",
    "Random",
    "filters",
    "gammas",
    "score",
]

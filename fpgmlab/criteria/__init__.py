"""Criteria: rules that give each channel a score; the lowest are removed first.

In: a graph, the name of a rule or a rule. Out: scores, {group name: (channels,) tensor}; tables that compare rules.
"""

from fpgmlab.criteria.comparison import removal_overlap
from fpgmlab.criteria.fpgm import FPGM, FPGMMix
from fpgmlab.criteria.gammas import gammas
from fpgmlab.criteria.points import filters
from fpgmlab.criteria.reconstruction import Reconstruction
from fpgmlab.criteria.rules import L1, L2, BNGamma, Criterion, Custom, GraphCriterion, Random
from fpgmlab.criteria.scores import Scores
from fpgmlab.criteria.scoring import NAMED, REDUCTIONS, score
from fpgmlab.criteria.tables import norms_and_distances, score_table

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
    "GraphCriterion",
    "Random",
    "Reconstruction",
    "Scores",
    "filters",
    "gammas",
    "norms_and_distances",
    "removal_overlap",
    "score",
    "score_table",
]

"""Figures: data in, ``matplotlib.figure.Figure`` out; no pyplot, nothing global. One file for each family of figure."""

from fpgmlab.figures.additivity import additivity
from fpgmlab.figures.agreement import rank_agreement
from fpgmlab.figures.desk.desk import desk
from fpgmlab.figures.detections import detections
from fpgmlab.figures.distances import clustered_order, distance_matrix
from fpgmlab.figures.files import save_figure
from fpgmlab.figures.filters import filter_tiles
from fpgmlab.figures.gammas import gamma_before_after, gamma_histogram, gamma_ridgeline, gamma_summary
from fpgmlab.figures.maps import filter_map
from fpgmlab.figures.norms import norm_distributions, norm_requirements, norms_and_distances
from fpgmlab.figures.pictures import pictures
from fpgmlab.figures.plans import plan_bars
from fpgmlab.figures.ranking import ranking_table, sensitivity_ranking
from fpgmlab.figures.recovery import recovery
from fpgmlab.figures.scores import score_bars, score_table, scores_by_layer
from fpgmlab.figures.sensitivity import sensitivity_curves, sensitivity_map
from fpgmlab.figures.slimming import slimming_curve
from fpgmlab.figures.style import VENUES, new_figure, style
from fpgmlab.figures.tradeoff import pareto_front, tradeoff

__all__ = [
    "VENUES",
    "additivity",
    "clustered_order",
    "desk",
    "detections",
    "distance_matrix",
    "filter_map",
    "filter_tiles",
    "gamma_before_after",
    "gamma_histogram",
    "gamma_ridgeline",
    "gamma_summary",
    "new_figure",
    "norm_distributions",
    "norm_requirements",
    "norms_and_distances",
    "pareto_front",
    "pictures",
    "plan_bars",
    "rank_agreement",
    "ranking_table",
    "recovery",
    "save_figure",
    "score_bars",
    "score_table",
    "scores_by_layer",
    "sensitivity_curves",
    "sensitivity_map",
    "sensitivity_ranking",
    "slimming_curve",
    "style",
    "tradeoff",
]

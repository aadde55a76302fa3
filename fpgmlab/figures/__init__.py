"""Figures: data in, ``matplotlib.figure.Figure`` out; no pyplot, nothing global. One file for each family of figure.

What they draw is computed in the rooms before; the tables that go with a figure can be had here as well.
"""

from fpgmlab.allocation.pareto import pareto_front
from fpgmlab.criteria.tables import norms_and_distances, score_table
from fpgmlab.figures.additivity import additivity
from fpgmlab.figures.agreement import rank_agreement
from fpgmlab.figures.classroom import class_plans
from fpgmlab.figures.comparison import comparison
from fpgmlab.figures.convolutions import channel_reach, macs_and_time, receptive_fields, time_over_channels
from fpgmlab.figures.deployment import layers_under_roof, theory_and_practice
from fpgmlab.figures.desk.desk import desk
from fpgmlab.figures.detections import detections
from fpgmlab.figures.distances import distance_matrix
from fpgmlab.figures.files import save_figure
from fpgmlab.figures.filters import filter_tiles
from fpgmlab.figures.gammas import gamma_before_after, gamma_histogram, gamma_ridgeline, gamma_summary
from fpgmlab.figures.heat import sensitivity_map
from fpgmlab.figures.looks import Look, looks
from fpgmlab.figures.maps import filter_map
from fpgmlab.figures.norms import norm_distributions, norm_requirements
from fpgmlab.figures.paper.paper import paper
from fpgmlab.figures.pictures import pictures
from fpgmlab.figures.plans import plan_bars
from fpgmlab.figures.ranking import sensitivity_ranking
from fpgmlab.figures.ratios import plan_ratios
from fpgmlab.figures.reach import reach
from fpgmlab.figures.recovery import recovery
from fpgmlab.figures.repair import repair_errors, repair_over, take_over
from fpgmlab.figures.roofline import roofline
from fpgmlab.figures.scores import score_bars, scores_by_layer
from fpgmlab.figures.seconds import points_over_seconds
from fpgmlab.figures.sensitivity import sensitivity_curves
from fpgmlab.figures.slimming import slimming_curve
from fpgmlab.figures.staircase import staircase
from fpgmlab.figures.style import VENUES, new_figure, style
from fpgmlab.figures.tradeoff import tradeoff
from fpgmlab.geometry.clustering import clustered_order
from fpgmlab.sensitivity.curves.ranking import ranking_table

__all__ = [
    "VENUES",
    "Look",
    "additivity",
    "channel_reach",
    "class_plans",
    "clustered_order",
    "comparison",
    "desk",
    "detections",
    "distance_matrix",
    "filter_map",
    "filter_tiles",
    "gamma_before_after",
    "gamma_histogram",
    "gamma_ridgeline",
    "gamma_summary",
    "layers_under_roof",
    "looks",
    "macs_and_time",
    "new_figure",
    "norm_distributions",
    "norm_requirements",
    "norms_and_distances",
    "paper",
    "pareto_front",
    "pictures",
    "plan_bars",
    "plan_ratios",
    "points_over_seconds",
    "rank_agreement",
    "ranking_table",
    "reach",
    "receptive_fields",
    "recovery",
    "repair_errors",
    "repair_over",
    "roofline",
    "save_figure",
    "score_bars",
    "score_table",
    "scores_by_layer",
    "sensitivity_curves",
    "sensitivity_map",
    "sensitivity_ranking",
    "slimming_curve",
    "staircase",
    "style",
    "take_over",
    "theory_and_practice",
    "time_over_channels",
    "tradeoff",
]

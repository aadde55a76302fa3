"""Curves: what was measured, as sums over samples that can be merged, with intervals, in memory and on disk."""

from fpgmlab.sensitivity.curves.curves import Curves
from fpgmlab.sensitivity.curves.ranking import ranking_table
from fpgmlab.sensitivity.curves.shipped import shipped

__all__ = ["Curves", "ranking_table", "shipped"]

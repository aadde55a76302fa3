"""Curves: what was measured, as sums over samples that can be merged, with intervals, in memory and on disk.

In: a metric's sums by group and kept channels. Out: `Curves`, and what is read off its table.
"""

from fpgmlab.sensitivity.curves.curves import Curves
from fpgmlab.sensitivity.curves.frame import (
    checked_groups,
    is_higher_better,
    is_share,
    one_metric,
    worse_word,
    worsening,
)
from fpgmlab.sensitivity.curves.intervals import Paired, Sums, is_narrow
from fpgmlab.sensitivity.curves.metrics import METRICS, USUAL, Judge, Metric, SampleMetric
from fpgmlab.sensitivity.curves.ranking import ranking_table
from fpgmlab.sensitivity.curves.shipped import shipped
from fpgmlab.sensitivity.curves.states import States
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, named

__all__ = [
    "METRICS",
    "USUAL",
    "Curves",
    "Judge",
    "Metric",
    "Paired",
    "SampleMetric",
    "States",
    "Sums",
    "TaskMetric",
    "checked_groups",
    "is_higher_better",
    "is_narrow",
    "is_share",
    "named",
    "one_metric",
    "ranking_table",
    "shipped",
    "worse_word",
    "worsening",
]

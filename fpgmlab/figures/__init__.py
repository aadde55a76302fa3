"""Figures: data in, ``matplotlib.figure.Figure`` out."""

from fpgmlab.figures.files import save_figure
from fpgmlab.figures.filters import filter_tiles, score_bars
from fpgmlab.figures.pictures import pictures
from fpgmlab.figures.plans import plan_bars
from fpgmlab.figures.recovery import recovery
from fpgmlab.figures.style import new_figure, style

__all__ = ["filter_tiles", "new_figure", "pictures", "plan_bars", "recovery", "save_figure", "score_bars", "style"]

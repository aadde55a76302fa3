"""Widgets: Jupyter panels for people who look into a network, and the plain data behind them.

In: a graph, curves, a task. Out: what a person chose there, as plain data: a plan, curves. A folder for each panel.
"""

try:
    import anywidget
    import ipywidgets
except ImportError as error:
    raise ImportError(
        f"fpgmlab.widgets needs {error.name}, which is not installed: pip install fpgmlab[lab]", name=error.name
    ) from error

from fpgmlab.widgets.classroom.seats import class_path, join_class
from fpgmlab.widgets.desk.editor import PlanEditor
from fpgmlab.widgets.explorer.panel import FilterExplorer
from fpgmlab.widgets.explorer.scene import FilterScene, filter_scene
from fpgmlab.widgets.explorer.view import FilterView, filter_view
from fpgmlab.widgets.gammas.panel import GammaPanel
from fpgmlab.widgets.gammas.view import GammaView, gamma_view
from fpgmlab.widgets.sweep.panel import SweepPanel

del anywidget, ipywidgets

__all__ = [
    "FilterExplorer",
    "FilterScene",
    "FilterView",
    "GammaPanel",
    "GammaView",
    "PlanEditor",
    "SweepPanel",
    "class_path",
    "filter_scene",
    "filter_view",
    "gamma_view",
    "join_class",
]

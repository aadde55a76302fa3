"""Jupyter panels for people who look into a network: the interactive views, and the plain data behind them."""

try:
    import anywidget
    import ipywidgets
except ImportError as error:
    raise ImportError(
        f"fpgmlab.widgets needs {error.name}, which is not installed: pip install fpgmlab[lab]", name=error.name
    ) from error

from fpgmlab.widgets.explorer import FilterExplorer
from fpgmlab.widgets.gamma_panel import GammaPanel
from fpgmlab.widgets.gamma_view import GammaView, gamma_view
from fpgmlab.widgets.plan_editor import PlanEditor
from fpgmlab.widgets.scene import FilterScene, filter_scene
from fpgmlab.widgets.sweep_panel import SweepPanel
from fpgmlab.widgets.view import FilterView, filter_view

del anywidget, ipywidgets

__all__ = [
    "FilterExplorer",
    "FilterScene",
    "FilterView",
    "GammaPanel",
    "GammaView",
    "PlanEditor",
    "SweepPanel",
    "filter_scene",
    "filter_view",
    "gamma_view",
]

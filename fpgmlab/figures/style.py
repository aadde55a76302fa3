"""The look of the figures: pure functions that return settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe & Ito's palette: told apart with any common colour vision.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8A8A"
LIGHT = "#D9D9D9"


def style(font_size: float = 9.0) -> dict[str, object]:
    """Return the rcParams of all figures: sans serif, thin spines, fonts embedded as TrueType.

    Parameters
    ----------
    font_size : float
        Of axis labels, in points.
    """
    return {
        "font.family": "sans-serif",
        "font.size": font_size,
        "axes.titlesize": font_size,
        "axes.titlelocation": "left",
        "axes.labelsize": font_size,
        "xtick.labelsize": font_size - 1,
        "ytick.labelsize": font_size - 1,
        "legend.fontsize": font_size - 1,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.4,
        "figure.dpi": 110,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
        "ps.fonttype": 42,
        "svg.fonttype": "none",
        "figure.constrained_layout.use": True,
    }


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches, within the style; no pyplot, so nothing global is left behind."""
    with mpl.rc_context(style()):
        yield Figure(figsize=(width, height))

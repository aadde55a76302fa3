"""The look of the figures: pure functions that return settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from tueplots import figsizes, fontsizes

from fpgmlab.errors import one_of

# Okabe & Ito's palette: told apart with any common colour vision.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8A8A"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
LIGHT, SLATE, BLACK = "#D9D9D9", "#666666", "#000000"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY, YELLOW)

VENUES = ("screen", "cvpr", "neurips", "ieee")
WIDTHS = ("column", "page")
Style = Mapping[str, object] | str  # rcParams, or a venue whose they are

# rcParams belong to the process: figures made by several threads at once would restore each other's.
_LOCK = threading.RLock()


def style(venue: str = "screen", width: str = "column") -> dict[str, object]:
    """Return the rcParams of figures: thin spines, Okabe and Ito's colours, fonts embedded as TrueType, no LaTeX.

    Fonts are those that matplotlib brings along: DejaVu Sans on the screen; STIX, which goes with Times, in papers.

    Parameters
    ----------
    venue : {"screen", "cvpr", "neurips", "ieee"}
        Where the figure goes. On the screen each figure has a size of its own.
    width : {"column", "page"}
        As wide as a column, or as the text: 3.25 and 6.875 inches at CVPR, 3.5 and 7.16 at IEEE; 5.5 for both at
        NeurIPS, which has one column. ``"page"`` on the screen is 10 inches.

    Returns
    -------
    dict of str to object
        To pass to any figure as ``style=``; changed at will, ``style("cvpr") | {"font.size": 9}``. A figure also takes
        a venue's name, ``style="cvpr"``.

    Raises
    ------
    ValueError
        For another venue or width.

    Examples
    --------
    >>> fl.figures.style("cvpr")["figure.figsize"][0]
    3.25
    """
    if venue not in VENUES:
        raise ValueError(one_of("venue", venue, VENUES))
    if width not in WIDTHS:
        raise ValueError(one_of("width", width, WIDTHS))
    return {**_LOOK, **_fonts(screen=venue == "screen"), **_text_sizes(venue), **_size(venue, width)}


_default = style  # functions that take a style call their argument by that name


def rc_params(style: Style | None) -> dict[str, object]:
    """Return all rcParams of a figure whose ``style=`` this is."""
    return {**_default(), **(_default(style) if isinstance(style, str) else style or {})}


@contextmanager
def new_figure(
    width: float, height: float | Callable[[float, float], float], style: Style | None = None
) -> Iterator[Figure]:
    """Yield an empty figure in a style; no pyplot and no setting of the process stays behind.

    Parameters
    ----------
    width : float
        On the screen, in inches; a venue's style has its own.
    height : float or callable
        On the screen, in inches; at another width it changes by half as much, since texts keep their size. For a figure
        whose height follows from its contents: a function of its true width and of the size of texts, both in inches.
    style : mapping, optional
        rcParams, as `style` returns them, or a venue's name; those of the screen when left out.
    """
    params = rc_params(style)
    with settings(params):
        true_width = float(mpl.rcParams["figure.figsize"][0]) if "figure.figsize" in params else width
        true_height = height(true_width, small() / 72) if callable(height) else height * (true_width / width) ** 0.5
        figure = Figure((true_width, true_height))
        figure.suppressComposite = True  # images one by one: joined they are all computed again at the page's size
        yield figure
        for axis in figure.axes:  # ticks are made when first drawn, in the style of that moment: make them now
            for ticks in (axis.xaxis, axis.yaxis):
                ticks.get_major_ticks(1)
                ticks.get_minor_ticks(1)


@contextmanager
def settings(params: Mapping[str, object]) -> Iterator[None]:
    """Put rcParams in force on top of matplotlib's own defaults, whatever the user's settings, and take them back."""
    with _LOCK, mpl.style.context(["default", dict(params)]):
        yield


def small() -> float:
    """Return the size of secondary texts in the style in force, in points."""
    return float(mpl.rcParams["xtick.labelsize"])


_LOOK: dict[str, object] = {
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=CYCLE),
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "figure.dpi": 110,
    "savefig.dpi": 300,
    "savefig.bbox": None,  # "tight" would change the width
    "figure.constrained_layout.use": True,
    "text.usetex": False,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "fpgmlab",  # the same names of parts in each run
}


def _fonts(screen: bool) -> dict[str, object]:
    # Named outright: generic names such as "serif" are looked up anew, and elsewhere, when a figure is drawn.
    family, mathtext = ("DejaVu Sans", "dejavusans") if screen else ("STIXGeneral", "stix")
    return {"font.family": [family], "mathtext.fontset": mathtext}


def _text_sizes(venue: str) -> dict[str, object]:
    if venue == "cvpr":
        return dict(fontsizes.cvpr2024())
    if venue == "neurips":
        return dict(fontsizes.neurips2024())
    label, tick = (9, 8) if venue == "screen" else (8, 7)
    names = {"font": label, "axes.label": label, "axes.title": label}
    names |= {"xtick.label": tick, "ytick.label": tick, "legend.font": tick}
    return {("font.size" if name == "font" else f"{name}size"): size for name, size in names.items()}


def _size(venue: str, width: str) -> dict[str, object]:
    page = width == "page"
    if venue == "cvpr":
        return {"figure.figsize": (figsizes.cvpr2024_full() if page else figsizes.cvpr2024_half())["figure.figsize"]}
    if venue == "neurips":
        return {"figure.figsize": figsizes.neurips2024()["figure.figsize"]}
    if venue == "ieee":  # IEEEtran's \columnwidth and \textwidth
        return {"figure.figsize": (7.16, 4.4) if page else (3.5, 2.2)}
    return {"figure.figsize": (10.0, 6.2)} if page else {}

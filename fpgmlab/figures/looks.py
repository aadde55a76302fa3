"""One look for each method in all figures: its colour, its marker, its dashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, count

from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from fpgmlab.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, SLATE

# Told apart as colours with any common colour vision, and by marker and dashes where there is no colour.
_COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, SLATE, BLACK)
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "p", "h")
_DASHES: tuple[LineStyleType, ...] = (
    *("-", (0, (5, 1.5)), (0, (2, 1)), (0, (5, 1, 1, 1))),
    *((0, (1, 1)), (0, (7, 2, 2, 2)), (0, (3, 3))),
)
_SIZES = {"*": 1.6, "P": 1.15, "X": 1.1, "D": 0.88, "p": 1.1, "h": 1.05}  # so that markers look alike in size
# What is met again from figure to figure. FPGM comes first: others are compared with it.
_PLACES = {
    **{"fpgm": 0, "reconstruction": 1, "l2": 2, "bn gamma": 3, "l1": 4, "fpgm mix": 5, "random": 6},
    **{"repair": 0, "repaired": 0, "repair, distilled": 1, "repair, trained": 2, "repair, distilled, features": 3},
    **{"trained": 4, "recalibrated": 5, "as cut": 6, "soft pruning": 7},
    **{"gradual, repaired": 8, "gradual, repaired and distilled": 9, "from scratch": 10},
}


@dataclass(frozen=True)
class Look:
    """How a series is drawn.

    Attributes
    ----------
    colour : str
    marker : str
        Matplotlib's.
    dashes : str or tuple
        Matplotlib's line style.
    """

    colour: str
    marker: str
    dashes: LineStyleType

    def size(self, points: float) -> float:
        """Return how large its marker must be to look as large as a disc.

        Parameters
        ----------
        points : float
            The disc's diameter.
        """
        return points * _SIZES.get(self.marker, 1.0)

    def handle(self, label: str) -> Line2D:
        """Return a legend's entry.

        Parameters
        ----------
        label : str
        """
        return Line2D([], [], color=self.colour, marker=self.marker, ls=self.dashes, markersize=self.size(4.2), lw=0.9,
                      mew=0, label=label)  # fmt: skip


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return a look for each name; criteria and ways of recovery that fpgmlab knows have theirs in every figure.

    Others take what is left: beside known ones the last first, so that a method of one's own beside FPGM is black, with
    stars. No two of one call share both marker and dashes; colours are repeated beyond eight, markers beyond twelve.

    Parameters
    ----------
    names : iterable of str
        Of methods, such as "fpgm", "FPGM" or "my rule".

    Examples
    --------
    >>> found = looks(["FPGM", "my rule"])
    >>> found["FPGM"].colour, found["my rule"].marker
    ('#0072B2', '*')
    """
    wanted = list(dict.fromkeys(names))
    taken: dict[str, int] = {}
    for name in wanted:
        place = _PLACES.get(name.lower().replace("_", " "))
        if place is not None and place not in taken.values():
            taken[name] = place
    free = [place for place in range(len(_COLOURS)) if place not in taken.values()]
    if taken:
        free.reverse()
    beyond = (place for place in count(len(_COLOURS)) if place not in taken.values())
    more = chain(free, beyond)
    return {name: _look(taken[name] if name in taken else next(more)) for name in wanted}


def _look(place: int) -> Look:
    return Look(_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])

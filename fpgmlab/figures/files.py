"""Figures on disk."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from fpgmlab.figures.style import style
from fpgmlab.files import atomic_path


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as PDF and PNG, the same bytes each time.

    Parameters
    ----------
    figure : Figure
    path : path-like
        Without its ending: ``outputs/fig1`` gives ``fig1.pdf`` and ``fig1.png``.

    Returns
    -------
    list of Path
        What was written.
    """
    written = []
    for kind, metadata in (("pdf", {"CreationDate": None, "Producer": None}), ("png", {"Software": None})):
        target = Path(f"{os.fspath(path)}.{kind}")
        with atomic_path(target) as temporary, mpl.rc_context(style()):
            figure.savefig(temporary, format=kind, metadata=metadata, bbox_inches="tight")
        written.append(target)
    return written

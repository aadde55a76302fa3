"""Sweeps that ship: curves of the shipped networks, so that a plan can be made at once."""

from __future__ import annotations

from fpgmlab.common.files import data_dir
from fpgmlab.errors import unknown
from fpgmlab.sensitivity.curves.curves import Curves


def available() -> list[str]:
    """Return the names of the networks whose sweep ships."""
    return sorted(path.stem for path in (data_dir() / "sweeps").glob("*.parquet"))


def shipped(name: str) -> Curves:
    """Return a sweep of a shipped network, from ``data/sweeps``: all 10,000 test pictures, channels by FPGM.

    `fpgmlab.models.load` gives the network by the same name.

    Parameters
    ----------
    name : str
        One of `available`, such as ``"resnet20-fashion"``.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest match.
    """
    names = available()
    if name not in names:
        raise ValueError(unknown("sweep", name, names) + ". fpgmlab.sweep measures any other network.")
    return Curves.load(data_dir() / "sweeps" / f"{name}.parquet")

"""Sweeps that ship: curves of the shipped networks, so that a plan can be made at once."""

from __future__ import annotations

from fpgmlab.common.files import data_dir
from fpgmlab.errors import unknown
from fpgmlab.sensitivity.curves.curves import Curves

_REPAIRED = "-repaired"


def available(repaired: bool = False) -> list[str]:
    """Return the names of the networks whose sweep ships, as cut or repaired."""
    stems = sorted(path.stem for path in (data_dir() / "sweeps").glob("*.parquet"))
    return [stem.removesuffix(_REPAIRED) for stem in stems if stem.endswith(_REPAIRED) == repaired]


def shipped(name: str, repaired: bool = False) -> Curves:
    """Return a sweep of a shipped network, from ``data/sweeps``; `fpgmlab.models.load` gives it by the same name.

    On the 5,000 pictures held out of the training data (``fl.tasks.fashion_mnist(holdout=5000)``), channels by FPGM.

    Parameters
    ----------
    name : str
        One of `available`, such as ``"resnet20-fashion"``.
    repaired : bool
        Of repaired points, by 512 training pictures; see ``repair`` of `fpgmlab.sweep`.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest match.

    Examples
    --------
    >>> curves = fl.sensitivity.shipped("resnet20-fashion")
    >>> round(curves.base["accuracy"], 3)
    0.938
    """
    names = available(repaired)
    if name not in names:
        raise ValueError(unknown("sweep", name, names) + ". fpgmlab.sweep measures any other network.")
    return Curves.load(data_dir() / "sweeps" / f"{name}{_REPAIRED if repaired else ''}.parquet")

"""A figure or table of a paper, with what is said below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
from matplotlib.figure import Figure

import fpgmlab
from fpgmlab.figures.paper.latex import code, escaped
from fpgmlab.figures.paper.sources import Sources
from fpgmlab.figures.style import Style

_LABELS = {"fpgm": "FPGM", "bn_gamma": "BN gamma", "l1": "L1", "l2": "L2", "fpgm_mix": "FPGM mix"}


@dataclass(frozen=True)
class Item:
    """What is written under one name.

    Attributes
    ----------
    content : Figure or str
        A table is LaTeX.
    data : pandas.DataFrame
        What is shown, as numbers.
    caption : str
        In LaTeX.
    source : str
        Where it comes from, in LaTeX.
    study : str
        The stored studies that it is made from, or "computed".
    width : {"column", "page"}
    """

    content: Figure | str
    data: pd.DataFrame
    caption: str
    source: str
    study: str
    width: str = "column"


@dataclass(frozen=True)
class Missing:
    """Why there is no such figure or table."""

    reason: str


@dataclass(frozen=True)
class Request:
    """What a figure or table is made from.

    Attributes
    ----------
    sources : Sources
    style : callable
        Of "column" or "page": the venue's settings.
    network : str
        The shipped classifier of which what no study holds is computed.
    """

    sources: Sources
    style: Callable[[str], Style]
    network: str = "resnet20-fashion"


Maker = Callable[[Request], "Item | Missing"]


def label(method: str) -> str:
    """Return how a paper writes a criterion's name."""
    return _LABELS.get(method, method)


def stored(sources: Sources, name: str, *keys: str, samples: str = "", note: bool = True) -> str:
    """Return where a stored study's numbers come from, in LaTeX: command, machine, version, date, samples."""
    said = dict(sources.study(name, "study"))  # the head of a stored study; the part that is meant says more
    for depth in range(len(keys) + 1):
        here = sources.study(name, *keys[:depth])
        said |= {key: here[key] for key in ("command", "date", "version", "note") if key in here}
        said.setdefault("machine", here.get("machine", ""))
    words = [f"Study {code(f'{sources.where}/{name}')}"]
    if "command" in said:
        words[0] += f" by {code(str(said['command']))}"
    words += [escaped(_machine(said["machine"]))] if said.get("machine") else []
    words += [f"fpgmlab {escaped(_version(said['version']))}"] if "version" in said else []
    words += [escaped(str(said[key])) for key in ("date", *(["note"] if note else [])) if key in said]
    return "; ".join([*words, *([escaped(samples)] if samples else [])]) + "."


def computed(what: str) -> str:
    """Return where numbers come from that were computed now, in LaTeX."""
    return f"Computed by fpgmlab {fpgmlab.__version__} with torch {_installed('torch')} from {what}."


def _version(version: object) -> str:
    return str(version).replace(".dirty", " with changes since")


def _machine(machine: object) -> str:
    if not isinstance(machine, Mapping):
        return re.sub(r"\+cu\d+", "", str(machine)).replace("1 threads", "1 thread")
    words = [str(machine.get("processor", ""))]
    if "runtime" in machine:
        words.append(f"{machine['runtime']} {machine.get('version', '')}".strip())
    if "threads" in machine:
        words.append(f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}")
    return ", ".join(word for word in words if word)


def _installed(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "unknown"

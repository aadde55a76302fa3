"""The sections of a run held against what they may be: all that is wrong is told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpgmlab.common.files import whole
from fpgmlab.errors import unknown
from fpgmlab.runs.making import PICKLES
from fpgmlab.runs.sections import BY_CURVES, LEADING, SECTIONS, table_for
from fpgmlab.runs.types import Table

ALWAYS = ("run", "trace", "score", "evaluate")  # a run has these also where the file does not name them
FILES = (("model", "file"), ("task", "path"), ("sweep", "file"), ("plan", "file"), ("plan", "table"))
SEEDED = ("score", "repair", "fit")  # have the seed of the run where they give none


class BadRun(ValueError):
    """A run file, or a setting of the command line, that cannot be; all that is wrong is told at once.

    Parameters
    ----------
    where : str
        The file.
    mistakes : sequence of str
        Each with its place.
    """

    def __init__(self, where: str, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        head = f"{where}: {len(mistakes)} mistakes\n  " if len(mistakes) > 1 else f"{where}: "
        super().__init__(head + "\n  ".join(mistakes))


def checked(
    document: Mapping[str, Any], where: str, read: bool = False
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the sections of a run as they are given, and with every default; `BadRun` with all that is wrong.

    Files that it names must be there when it is ``read`` to run.
    """
    mistakes = [f"{name}: {unknown('section', name, SECTIONS)}" for name in document if name not in SECTIONS]
    mistakes += [f"the section [{name}] is missing" for name in ("model", "task") if name not in document]
    given, sections = {}, {}
    for name in SECTIONS:
        if name in document or name in ALWAYS:
            value = as_table(name, document.get(name, {}))
            table = table_for(name, value, mistakes) if isinstance(value, Mapping) else Table({})
            if table is not None:
                found = table.taken(value, name, mistakes)
                sections[name] = table.filled(found)
                if name in SEEDED and "seed" not in found:
                    sections[name]["seed"] = sections["run"]["seed"]
                if name in document:
                    given[name] = found
    mistakes += _between(document, sections) + (_not_there(sections) if read else [])
    if mistakes:
        raise BadRun(where, mistakes)
    return given, sections


def _between(document: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what is wrong between the sections."""
    wrong = []
    if "repair" in document and "plan" not in document:
        wrong.append("repair: there is nothing to repair without a section [plan]")
    if "gradual" in document and (other := [name for name in ("plan", "repair") if name in document]):
        wrong.append(f"gradual: plans and repairs itself; leave out [{other[0]}]")
    if (how := sections.get("plan", {}).get("how")) in BY_CURVES and "sweep" not in document:
        wrong.append(f"plan.how: {how!r} needs curves: add a section [sweep], which may be empty, or name its 'file'")
    if "latency" in sections.get("plan", {}) and "table" not in sections["plan"]:
        wrong.append("plan.latency: needs 'table', the file of a fpgmlab.latency_table of this machine")
    return wrong


def _not_there(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which files and folders are named and not there."""
    named = {f"{section}.{key}": sections.get(section, {}).get(key) for section, key in FILES}
    for number, extra in enumerate(sections.get("fit", {}).get("extras", [])):
        if isinstance(extra, Mapping):
            named[f"fit.extras[{number}].teacher"] = extra.get("teacher")
    paths = {place: path for place, path in named.items() if isinstance(path, str)}
    gone = {place: path for place, path in paths.items() if not Path(path).exists()}
    return [f"{place}: there is no {_kind_of(path)} {whole(path)}" for place, path in gone.items()]


def _kind_of(path: str) -> str:
    """Return what a path that is not there would be: a name without an ending is a folder's, as far as one can say."""
    return "file" if Path(path).suffix else "folder"


def as_table(section: str, value: object) -> object:
    """Return a section that is given as one text alone as the table that it stands for."""
    if not isinstance(value, str) or section not in LEADING:
        return value
    if section == "model" and re.fullmatch(r"[\w.]+:\w+", value):
        return {"builder": value}
    if section == "model" and Path(value).suffix in (".safetensors", *PICKLES):
        return {"file": value}
    return {LEADING[section]: value}

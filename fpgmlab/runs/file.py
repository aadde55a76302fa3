"""A run file: one TOML that says all of a run. Read and checked as a whole, written by a notebook."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fpgmlab.common.files import as_path, write_text
from fpgmlab.plans import Plan
from fpgmlab.runs.checking import BadRun, as_table, checked
from fpgmlab.runs.telling import told


@dataclass(frozen=True)
class RunFile:
    """What a run file says.

    Attributes
    ----------
    path : Path
    text : str
        As it was given.
    given : mapping
        Its sections, each a table, with what ``--set`` changed.
    sections : mapping
        The same with every default written out: all that the run goes by.
    """

    path: Path
    text: str
    given: Mapping[str, Mapping[str, Any]]
    sections: Mapping[str, Mapping[str, Any]]

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.sections["run"].get("folder", Path("outputs") / self.path.stem))

    @property
    def resolved(self) -> str:
        """The sections as TOML."""
        return tomli_w.dumps(self.sections)


def read_run(path: str | os.PathLike[str], settings: Sequence[str] = ()) -> RunFile:
    """Read a run file and check all of it, before anything runs.

    Parameters
    ----------
    path : path-like
    settings : sequence of str
        Changes such as ``"fit.epochs=1"``: a key with its section, and a value as TOML has it (a text may stand without
        quotes).

    Returns
    -------
    RunFile

    Raises
    ------
    TypeError
        For what is no path.
    BadRun
        When it is not there, no TOML, or has sections, keys or values that cannot be; all of them are told, each with
        its place and, for a name that does not exist, the nearest that does.
    """
    path = as_path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise BadRun(str(path), ["there is no such file"]) from None
    except OSError as error:
        raise BadRun(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise BadRun(str(path), [f"is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise BadRun(str(path), [f"is not TOML: {error}"]) from error
    for setting in settings:
        _merge(document, _parsed(setting))
    given, sections = checked(document, str(path), read=True)
    return RunFile(path, text, given, sections)


def write_run(
    path: str | os.PathLike[str],
    *,
    model: str | Mapping[str, Any],
    task: str | Mapping[str, Any],
    run: str | Mapping[str, Any] | None = None,
    trace: Mapping[str, Any] | None = None,
    score: str | Mapping[str, Any] | None = None,
    sweep: Mapping[str, Any] | None = None,
    plan: str | Plan | Mapping[str, Any] | None = None,
    repair: Mapping[str, Any] | None = None,
    gradual: Mapping[str, Any] | None = None,
    fit: Mapping[str, Any] | None = None,
    evaluate: Mapping[str, Any] | None = None,
    export: str | Mapping[str, Any] | None = None,
    benchmark: Mapping[str, Any] | None = None,
) -> None:
    """Write a run file from the parameters of a notebook: ``python -m fpgmlab`` runs the same where no notebook does.

    Each argument is a section of the file, a table of the options of the function of its name. What is None is not
    written; ``{}`` is a step with its defaults. Criteria and extras may be the objects themselves; their teacher and
    graph will be those of the run. ::

        fl.write_run("run.toml", model="resnet20-fashion", task={"name": "fashion_mnist", "holdout": 5000},
                     plan={"how": "uniform", "macs": 0.5}, repair={}, fit={"epochs": 3, "extras": [fl.Distill(model)]})

    Parameters
    ----------
    path : path-like
        Written whole or not at all.
    model : str or mapping
        A network that ships, an architecture, a file, ``"module:function"``; or a table with ``name``, ``file`` or
        ``builder``, and options.
    task : str or mapping
        Its name, or a table with ``name`` and options, such as ``{"name": "fashion_mnist", "holdout": 5000}``.
    run : str or mapping, optional
        The folder; or ``folder``, ``seed``, ``device``.
    score : str or mapping, optional
        The criterion, or a table with it.
    plan : str, Plan or mapping, optional
        ``how``, or a table with it and its options; or the plan itself, which is written beside the file.
    export : str or mapping, optional
        The format, or a table with it.
    gradual : mapping, optional
        Options of `fpgmlab.prune_gradually`, in place of a plan and a repair.
    trace, sweep, repair, fit, evaluate, benchmark : mapping, optional
        Options of `fpgmlab.trace`, `fpgmlab.sweep` and so on.

    Raises
    ------
    BadRun
        As when the file is read; nothing is written then.
    """
    parts: dict[str, Any] = {
        "run": run, "model": model, "task": task, "trace": trace, "score": score, "sweep": sweep, "plan": plan,
        "repair": repair, "gradual": gradual, "fit": fit, "evaluate": evaluate, "export": export,
        "benchmark": benchmark,
    }  # fmt: skip
    mistakes: list[str] = []
    if isinstance(plan, Plan):
        parts["plan"] = {"how": "file", "file": Path(path).with_suffix(".plan.json").as_posix()}
    document = {section: told(value, section, mistakes) for section, value in parts.items() if value is not None}
    if mistakes:
        raise BadRun(str(path), mistakes)
    given, _ = checked(document, str(path))
    if isinstance(plan, Plan):
        plan.to_json(parts["plan"]["file"])
    write_text(path, tomli_w.dumps(given))


def _parsed(setting: str) -> dict[str, Any]:
    """Return what ``section.key=value`` sets, as a document."""
    key, equals, value = setting.partition("=")
    if not equals or not re.fullmatch(r"\s*[\w-]+\s*(\.\s*([\w-]+|\"[^\"]*\")\s*)+", key):
        raise BadRun("--set", [f"{setting!r} must be SECTION.KEY=VALUE, such as fit.epochs=1"])
    try:
        return tomllib.loads(setting)
    except tomllib.TOMLDecodeError:
        return tomllib.loads(f"{key}={tomli_w.dumps({'x': value.strip()})[4:]}")  # a text without quotes


def _merge(document: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Write a change into a document; tables are changed key by key."""
    for key, value in change.items():
        there = as_table(key, document.get(key))
        if isinstance(value, Mapping) and isinstance(there, dict):
            document[key] = there
            _merge(there, value)
        else:
            document[key] = value

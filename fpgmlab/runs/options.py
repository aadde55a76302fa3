"""The options of a function as a file can give them: names, types, defaults and words, from its signature and text."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, get_type_hints

from fpgmlab.runs.limits import limit_of
from fpgmlab.runs.types import Option, Table, words


def options_of(function: Callable[..., object], leave_out: Sequence[str] = ()) -> dict[str, Option]:
    """Return the options of a function, or of a dataclass, that a file can give.

    Those whose type no file holds (models, callables, clients) are left out, and those that are named.
    """
    return {name: option for name, option in _options(function).items() if name not in leave_out}


def options_as(kind: Callable[..., object], function: Callable[..., object]) -> dict[str, Option]:
    """Return the options of a dataclass, with the texts and choices of the function that it stands for."""
    told, own = options_of(function), options_of(kind)
    return own | {n: replace(own[n], choices=told[n].choices, text=told[n].text) for n in own if n in told}


def table_of(function: Callable[..., object], leave_out: Sequence[str] = (), **more: Option) -> Table:
    """Return the type of a table with the options of a function, and perhaps more."""
    return Table({**options_of(function, leave_out), **more})


def arguments_of(function: Callable[..., object]) -> Table | None:
    """Return the arguments of somebody's own function, of any type where none is told; None where it takes any name."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {name: Option(name, Any, each.default) for name, each in parameters.items() if each.kind in plain}
    own = {name: replace(option, limit=None) for name, option in _options(function).items()}  # their names are theirs
    return Table(found | {name: option for name, option in own.items() if name in found})


@cache
def _options(function: Callable[..., object]) -> dict[str, Option]:
    told, parameters = _documented(inspect.getdoc(function) or ""), inspect.signature(function).parameters
    found = {}
    for name, annotation in _hints(function).items():
        if words(annotation):
            kind, text = told.get(name, ("", ""))
            limit = limit_of(function.__name__, name)
            found[name] = Option(name, annotation, parameters[name].default, _choices(kind), text, limit)
    return found


class _Package(type):
    """A class that has all that it is asked for, as a package that is not imported might."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Foreign


class _Foreign(metaclass=_Package):
    """What stands for a type, or a package, that is imported for type checkers alone: no file could hold it."""


class _Names(dict[str, Any]):
    """The names that a function's annotations may use; those that are not there while it runs are foreign."""

    def __missing__(self, name: str) -> type:
        if name.startswith("__"):  # asked for by a debugger
            raise KeyError(name)
        return _Foreign


def _hints(function: Callable[..., object]) -> dict[str, object]:
    """Return the types of a function's parameters, by name; a dataclass has those of its fields."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    annotations = {
        name: parameter.annotation
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in kinds and parameter.annotation is not inspect.Parameter.empty
    }
    module = inspect.getmodule(function)
    names = _Names({**vars(builtins), **(vars(module) if module else {})})
    return get_type_hints(SimpleNamespace(__annotations__=annotations), globalns={}, localns=names)


def _documented(text: str) -> dict[str, tuple[str, str]]:
    """Return what a NumPy docstring says of each parameter: its type and its text, by name."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    found: dict[str, tuple[str, str]] = {}
    for part in re.split(r"^(?=\w)", section[1] if section else "", flags=re.MULTILINE)[1:]:
        head, _, said = part.partition("\n")
        names, _, kind = head.partition(" : ")
        found |= dict.fromkeys(names.split(", "), (kind, " ".join(said.split())))
    return found


def _choices(kind: str) -> tuple[str, ...]:
    """Return the texts of a documented type such as ``{"best", "last"}``; none where others may be as well."""
    listed = re.match(r"\{(.*?)\}", kind)
    return () if listed is None or "..." in listed[1] else tuple(re.findall(r'"(.*?)"', listed[1]))

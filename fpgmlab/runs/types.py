"""Values of a file against the types that options have, and what is wrong with them, in words."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fpgmlab.errors import one_of, unknown
from fpgmlab.runs.limits import Limit

WORDS: dict[object, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
LISTS = (Sequence, list, tuple)
TABLES = (Mapping, dict)


@dataclass(frozen=True)
class Option:
    """One option that a file can give.

    Attributes
    ----------
    name : str
    annotation : object
        Its type: one that is written in a signature, a `Table` or `Named`.
    default : object
        ``inspect.Parameter.empty`` for one that must be given.
    choices : tuple of str
        The texts that it, or each of a list, may be; none where any text may be.
    text : str
        What it is, in words.
    limit : Limit, optional
        The numbers that it may be, or those in it.
    """

    name: str
    annotation: object
    default: object = inspect.Parameter.empty
    choices: tuple[str, ...] = ()
    text: str = ""
    limit: Limit | None = None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty

    def taken(self, value: object, place: str, mistakes: list[str]) -> object:
        """Return a value as the option wants it; what is wrong goes to ``mistakes``."""
        if isinstance(value, str) and self.choices and value not in self.choices:
            mistakes.append(one_of(place, value, self.choices))
            return value
        wrong: list[str] = []
        found = taken(value, self.annotation, place, wrong)
        if not wrong and self.choices and isinstance(found, list):
            what, known = self.name.removesuffix("s"), self.choices
            wrong += [f"{place}[{n}]: {unknown(what, x, known)}" for n, x in enumerate(found) if x not in known]
        if not wrong and self.limit is not None:
            wrong += self.limit.wrong(found, place)
        mistakes += wrong
        return found


@dataclass(frozen=True, eq=False)
class Table:
    """The type of a table with certain keys."""

    options: Mapping[str, Option]

    def taken(self, value: object, place: str, mistakes: list[str]) -> dict[str, Any]:
        """Return a table as its keys' types want it, without what is unknown; what is wrong goes to ``mistakes``."""
        if not isinstance(value, Mapping):
            keys = ", ".join(self.options)
            mistakes.append(f"{place} must be a table{f', with keys of {keys}' if keys else ''}; got {value!r}")
            return {}
        mistakes += [f"{place}.{key}: {unknown('key', key, self.options)}" for key in value if key not in self.options]
        for name, option in self.options.items():
            if option.required and name not in value:
                mistakes.append(f"{place}: the key {name!r} is missing")
        return {
            key: self.options[key].taken(each, f"{place}.{key}", mistakes)
            for key, each in value.items()
            if key in self.options
        }

    def filled(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a table that `taken` gave with all defaults that a file can hold."""
        found = {}
        for name, option in self.options.items():
            default = list(option.default) if isinstance(option.default, tuple) else option.default
            wrong: list[str] = []
            if name in value:
                found[name] = filled(value[name], option.annotation)
            elif not option.required and default is not None:
                taken_default = option.taken(default, name, wrong)
                found |= {} if wrong else {name: filled(taken_default, option.annotation)}
        return found


@dataclass(frozen=True, eq=False)
class Named:
    """The type of what the library has by names: its name alone, or a table with ``name`` and its options."""

    what: str
    tables: Mapping[str, Table]

    def taken(self, value: object, place: str, mistakes: list[str]) -> dict[str, Any]:
        """Return it as a table; what is wrong goes to ``mistakes``."""
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping) or not isinstance(name := table.get("name"), str):
            listed = ", ".join(map(repr, self.tables))
            mistakes.append(f"{place} must be one of {listed}, or a table with one of these as 'name'; got {value!r}")
            return {}
        if name not in self.tables:
            mistakes.append(f"{place}: {unknown(self.what, name, self.tables)}")
            return {}
        rest = {key: each for key, each in table.items() if key != "name"}
        return {"name": name, **self.tables[name].taken(rest, place, mistakes)}

    def without(self, names: Sequence[str]) -> Named:
        """Return the same without some of the names."""
        return Named(self.what, {name: table for name, table in self.tables.items() if name not in names})

    def filled(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return it with all defaults that a file can hold."""
        return {"name": value["name"], **self.tables[value["name"]].filled(value)} if value else {}


def words(annotation: object) -> str:
    """Return what a value of a type is called; nothing for a type that no file holds."""
    if isinstance(annotation, Table | Named):
        return "a table" if isinstance(annotation, Table) else f"a {annotation.what}"
    if annotation in (Any, object):
        return "anything"
    if annotation in WORDS:
        return WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(filter(None, map(words, inner))))
    if origin is os.PathLike or annotation is Path:
        return WORDS[str]
    if origin in LISTS and words(inner[0]):
        return "a list"
    if origin in TABLES and inner[0] is str and words(inner[1]):
        return "a table"
    return ""


def taken(value: object, annotation: object, place: str, mistakes: list[str]) -> object:
    """Return a value as a type wants it, a whole number as a float where that is meant.

    Parameters
    ----------
    value : object
        As TOML has it.
    annotation : object
    place : str
        Where it stands, such as ``"fit.lr"``.
    mistakes : list of str
        What is wrong is added, with its place.
    """
    if isinstance(annotation, Table | Named):
        return annotation.taken(value, place, mistakes)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _as_one_of(value, inner, place, mistakes, words(annotation))
    if origin in LISTS and isinstance(value, list | tuple):
        return [taken(each, inner[0], f"{place}[{n}]", mistakes) for n, each in enumerate(value)]
    if origin in TABLES and isinstance(value, Mapping):
        return {key: taken(each, inner[1], f"{place}.{key}", mistakes) for key, each in value.items()}
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    plain = str if origin is os.PathLike or annotation is Path else annotation
    fits = value in inner if origin is Literal else annotation in (Any, object) or type(value) is plain
    if not fits:
        mistakes.append(f"{place} must be {words(annotation)}; got {value!r}")
    return value


def filled(value: Any, annotation: object) -> Any:
    """Return a value that `taken` gave, with the defaults of all tables in it."""
    if isinstance(annotation, Table | Named):
        return annotation.filled(value)
    if isinstance(value, list) and (inner := get_args(annotation)):
        return [filled(each, inner[0]) for each in value]
    return value


def _as_one_of(value: object, members: Sequence[object], place: str, mistakes: list[str], told: str) -> object:
    """Return a value as the first member of a union wants it that it fits: whole numbers stay whole where they may."""
    tries = []
    for member in sorted((m for m in members if m is not NoneType and words(m)), key=lambda member: member is float):
        wrong: list[str] = []
        found = taken(value, member, place, wrong)
        if not wrong:
            return found
        tries.append(wrong)
    inside = [wrong for wrong in tries if not wrong[0].startswith(f"{place} must")]
    mistakes += inside[0] if len(inside) == 1 else [f"{place} must be {told}; got {value!r}"]
    return value

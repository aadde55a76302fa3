"""The API reference: a page for each room, of its public names, from their docstrings."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from types import ModuleType

import fpgmlab


def rooms() -> dict[str, ModuleType]:
    """Return the rooms by name."""
    names = [module.name for module in pkgutil.iter_modules(fpgmlab.__path__) if module.ispkg]
    return {name: importlib.import_module(f"fpgmlab.{name}") for name in names}


@dataclass(frozen=True)
class Name:
    """A public name: what it is, as it is written with ``import fpgmlab as fl``, and in full."""

    thing: object
    written: str
    full: str


def public(room: ModuleType) -> list[Name]:
    """Return a room's public names, those that ``fpgmlab`` has of it and it has not among them."""
    names = []
    for name in room.__all__:
        thing = getattr(room, name)
        full = f"fpgmlab.{name}" if getattr(fpgmlab, name, None) is thing else f"{room.__name__}.{name}"
        names.append(Name(thing, full.replace("fpgmlab", "fl"), _module_name(thing) or full))
    known = [name.thing for name in names]
    for name in fpgmlab.__all__:
        thing = getattr(fpgmlab, name)
        if (
            not isinstance(thing, ModuleType | str)
            and at_home(thing, room)
            and not any(thing is each for each in known)
        ):
            names.append(Name(thing, f"fl.{name}", f"fpgmlab.{name}"))
    return sorted(names, key=lambda name: name.written.rpartition(".")[2].lower())


def _module_name(thing: object) -> str | None:
    return thing.__name__ if isinstance(thing, ModuleType) else None


def at_home(thing: object, room: ModuleType) -> bool:
    """Tell whether something is defined in a room, and not in one before it that the room passes on."""
    where = _module_name(thing) or str(getattr(thing, "__module__", None))
    return not where.startswith("fpgmlab.") or where == room.__name__ or where.startswith(f"{room.__name__}.")


def room_page(name: str, room: ModuleType) -> str:
    """Return the page of a room in reStructuredText."""
    parts = [_heading(name, "="), f".. automodule:: {room.__name__}\n   :no-members:\n"]
    passed_on = []
    for each in public(room):
        if at_home(each.thing, room):
            parts += [_heading(each.written, "-"), _directive(each.full, each.thing)]
        else:
            home = getattr(each.thing, "__module__", "")
            passed_on.append(f":py:obj:`{each.written} <{home}.{each.full.rpartition('.')[2]}>`")
    if passed_on:
        parts.append(f"{_heading('From other rooms', '-')}\n{', '.join(passed_on)}.\n")
    return "\n".join(parts)


def index_page() -> str:
    """Return the page that lists everything at the top of ``fpgmlab``, and the rooms."""
    rows = []
    for name, room in rooms().items():
        names = [each for each in public(room) if at_home(each.thing, room)]
        links = ", ".join(f":py:obj:`{each.written} <{each.full}>`" for each in names)
        first = (inspect.getdoc(room) or "").split("\n\n")[0].replace("\n", " ")
        rows.append(f":doc:`{name}`\n   {first}\n\n   {links}\n")
    tree = "\n".join(f"   {name}" for name in rooms())
    words = (
        "What ``import fpgmlab as fl`` gives, room by room, in the alphabet's order; what needs what is told in "
        ":doc:`/project/ARCHITECTURE`. Names of ``fl`` itself (``fl.fit``) stand with the room that makes them. "
        "Nothing changes what it is given; what a person would look at comes back as a ``pandas.DataFrame`` or a "
        "``matplotlib`` figure.\n"
    )
    begin = inspect.getdoc(fpgmlab).partition("Examples in docstrings")  # the lines that all examples go on from
    words += f"\n{''.join(begin[1:])}\n"
    return "\n".join((_heading("API", "="), words, *rows, f".. toctree::\n   :hidden:\n\n{tree}\n"))


def _directive(name: str, thing: object) -> str:
    if isinstance(thing, ModuleType):
        return f".. automodule:: {name}\n   :members:\n   :member-order: bysource\n"
    if inspect.isclass(thing):
        return f".. autoclass:: {name}\n   :members: {', '.join(_members(thing))}\n   :member-order: bysource\n"
    if callable(thing):
        return f".. autofunction:: {name}\n"
    names = ", ".join(f"``{each!r}``" for each in thing) if isinstance(thing, (dict, tuple, list)) else f"``{thing!r}``"
    kinds = "By name: " if isinstance(thing, dict) else "One of: "
    module, _, last = name.rpartition(".")
    return f".. py:data:: {last}\n   :module: {module}\n\n   {kinds}{names}.\n"


def _members(kind: type) -> list[str]:
    """Return what is public in a class, and in those above it that have no place of their own in the reference."""
    placed = {name.thing for room in rooms().values() for name in public(room) if inspect.isclass(name.thing)}
    of = [base for base in kind.__mro__ if base.__module__.startswith("fpgmlab.") and base not in placed - {kind}]
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    found = {
        name: None
        for base in of
        for name, member in vars(base).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    }
    return list(found)


def _heading(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}\n"

"""The API reference: a page for each room, of its public names, from their docstrings."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from types import ModuleType

import fpgmlab


def rooms() -> dict[str, ModuleType]:
    """Return the rooms in the order in which they are named in the picture of the whole: that of ``fpgmlab``."""
    names = [module.name for module in pkgutil.iter_modules(fpgmlab.__path__) if module.ispkg]
    return {name: importlib.import_module(f"fpgmlab.{name}") for name in names}


def public(room: ModuleType) -> dict[str, object]:
    """Return a room's public names and what they are, its own first."""
    return {name: getattr(room, name) for name in sorted(room.__all__, key=str.lower)}


def documented(name: str, room: ModuleType) -> str:
    """Return the name under which something is documented: ``fpgmlab.fit`` if it is at the top, else the room's."""
    thing = getattr(room, name)
    if isinstance(thing, ModuleType):
        return thing.__name__
    return f"fpgmlab.{name}" if at_top(name, room) else f"{room.__name__}.{name}"


def at_top(name: str, room: ModuleType) -> bool:
    return getattr(fpgmlab, name, None) is getattr(room, name)


def at_home(thing: object, room: ModuleType) -> bool:
    """Tell whether something is defined in a room, and not in one before it that the room passes on."""
    where = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return not str(where).startswith("fpgmlab.") or str(where).startswith(f"{room.__name__}.") or where == room.__name__


def room_page(name: str, room: ModuleType) -> str:
    """Return the page of a room in reStructuredText."""
    parts = [_heading(name, "="), f".. automodule:: {room.__name__}\n   :no-members:\n"]
    passed_on = []
    for each, thing in public(room).items():
        if at_home(thing, room):
            parts.append(_heading(("fl." if at_top(each, room) else f"fl.{name}.") + each, "-"))
            parts.append(_directive(documented(each, room), thing))
        else:
            passed_on.append(f":py:obj:`{each} <{_canonical(thing, each)}>`")
    if passed_on:
        parts.append(f"{_heading('From other rooms', '-')}\n{', '.join(passed_on)}.\n")
    return "\n".join(parts)


def index_page() -> str:
    """Return the page that lists everything at the top of ``fpgmlab``, and the rooms."""
    rows = []
    for name, room in rooms().items():
        names = [each for each, thing in public(room).items() if at_home(thing, room)]
        links = ", ".join(f":py:obj:`{each} <{documented(each, room)}>`" for each in names)
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
    return f".. py:data:: {name}\n\n   {kinds}{names}.\n"


def _members(kind: type) -> list[str]:
    """Return what is public in a class, and in those above it that have no place of their own in the reference."""
    placed = {thing for room in rooms().values() for thing in public(room).values() if inspect.isclass(thing)}
    of = [base for base in kind.__mro__ if base.__module__.startswith("fpgmlab.") and base not in placed - {kind}]
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    found = {
        name: None
        for base in of
        for name, member in vars(base).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    }
    return list(found)


def _canonical(thing: object, name: str) -> str:
    return thing.__name__ if isinstance(thing, ModuleType) else f"{getattr(thing, '__module__', '')}.{name}"


def _heading(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}\n"

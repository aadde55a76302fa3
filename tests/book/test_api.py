"""Every public name has its place in the API reference."""

from __future__ import annotations

import importlib
import inspect
import re
from operator import attrgetter

import fpgmlab
from book.making.api import room_page, rooms
from tests.docstrings import public

DIRECTIVE = re.compile(
    r"^\.\. auto(\w+):: fpgmlab\.([\w.]+)\n   :members:(.*)|^\.\. autofunction:: fpgmlab\.([\w.]+)", re.M
)


def placed() -> set[object]:
    """Return the functions and classes that the pages name, and of classes the members that they list."""
    found: set[object] = set()
    for name, room in rooms().items():
        for kind, whole, members, function in DIRECTIVE.findall(room_page(name, room)):
            if function:
                found.add(inspect.unwrap(attrgetter(function)(fpgmlab)))
            elif kind == "module":  # all that is in it
                module = importlib.import_module(f"fpgmlab.{whole}")
                found |= {it for it in vars(module).values() if getattr(it, "__module__", None) == module.__name__}
            else:
                there = attrgetter(whole)(fpgmlab)
                found.add(there)
                for member in members.split(","):
                    found.add(_function(inspect.getattr_static(there, member.strip(), None)))
    return found


def _function(member: object) -> object:
    for name in ("__func__", "fget", "func"):  # of class methods, properties, cached ones
        member = getattr(member, name, member)
    return inspect.unwrap(member) if inspect.isfunction(member) else member


def test_each_public_name_has_a_place_in_the_reference():
    places = placed()
    missing = [thing.name for thing in public() if (thing.function or thing.it) not in places]
    assert len(places) > 400
    assert missing == []

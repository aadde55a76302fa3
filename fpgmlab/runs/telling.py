"""A notebook's values as a run file has them: paths, tuples, and the library's own criteria and extras."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from fpgmlab.runs.making import SUPPLIED, named_criteria, named_extras
from fpgmlab.runs.options import options_of
from fpgmlab.tasks import BoxAugment


def told(value: Any, place: str, mistakes: list[str]) -> Any:
    """Return a value as TOML has it; what cannot be told goes to ``mistakes``.

    Parameters
    ----------
    value : object
        Tables without what is None, lists, numbers, texts, paths; criteria, extras and augmentations, of which the
        teacher, the graph and the task are left out: a run gives its own.
    place : str
        Where it will stand.
    mistakes : list of str
    """
    if isinstance(value, Mapping):
        return {str(key): told(each, f"{place}.{key}", mistakes) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [told(each, f"{place}[{n}]", mistakes) for n, each in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    names = {found: name for name, found in {**named_criteria(), **named_extras()}.items()}
    if type(value) in names:
        return {"name": names[type(value)], **_changed(value, place, mistakes)}
    return _changed(value, place, mistakes) if isinstance(value, BoxAugment) else value


def _changed(thing: object, place: str, mistakes: list[str]) -> dict[str, Any]:
    """Return the options of a dataclass that are not as they are by default."""
    assert is_dataclass(thing)
    found, tellable = {}, options_of(type(thing))
    for field in fields(thing):
        value = getattr(thing, field.name)
        if field.name in SUPPLIED or not field.init or (field.default is not MISSING and value == field.default):
            continue
        if field.name in tellable:
            found[field.name] = told(value, f"{place}.{field.name}", mistakes)
        else:
            mistakes.append(f"{place}: {field.name}= of {type(thing).__name__} cannot be told in a file")
    return found

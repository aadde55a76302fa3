"""Plans on disk: JSON, a line for each group."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from fpgmlab.common.files import atomic_path

FORMAT = "fpgmlab-plan/1"

APlan = TypeVar("APlan")


def plan_text(
    widths: Mapping[str, int], removed: Mapping[str, tuple[int, ...]], path: str | os.PathLike[str] | None = None
) -> str:
    """Return a plan's channels and removed channels by group as JSON text, and write it to ``path`` when given."""
    groups = {name: {"channels": width, "removed": list(removed[name])} for name, width in widths.items()}
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in groups.items())
    text = f'{{\n  "format": {json.dumps(FORMAT)},\n  "groups": {{\n{lines}\n  }}\n}}\n'
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def read_plan(
    source: str | os.PathLike[str], make: Callable[[dict[str, int], dict[str, tuple[int, ...]]], APlan]
) -> APlan:
    """Return ``make(widths, removed)`` of a file, or of JSON text; what is no plan is a `ValueError` that names it."""
    inline = isinstance(source, str) and source.lstrip().startswith("{")
    name = "the text" if inline else repr(str(source))
    text = str(source) if inline else Path(source).read_text(encoding="utf-8")
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r} instead of {FORMAT!r}")
        groups = data["groups"]
        return make({g: e["channels"] for g, e in groups.items()}, {g: tuple(e["removed"]) for g, e in groups.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is not a plan of fpgmlab: {error}") from error

"""The browser's side of a widget: plain ES modules and style sheets, joined to the one text that anywidget takes."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "static"

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[\w.]+";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


def script(*names: str) -> str:
    """Return ES modules as one: relative imports and the ``export`` of all but the default are dropped.

    Parameters
    ----------
    *names : str
        Files of ``static/``, each after those that it imports from; the last has the default export.
    """
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(name))) for name in names)


def sheet(*names: str) -> str:
    """Return style sheets of ``static/`` as one."""
    return "\n".join(_read(name) for name in names)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

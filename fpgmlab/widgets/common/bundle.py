"""The browser's side of a widget: plain ES modules and style sheets, joined to the one text that anywidget takes."""

from __future__ import annotations

import re
from pathlib import Path

COMMON = Path(__file__).parent / "static"  # what all panels share

_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[\w./]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


def modules(entry: Path) -> list[Path]:
    """Return the ES modules that one needs, each after those that it imports from; itself is the last.

    Parameters
    ----------
    entry : path
        A file whose imports are relative.

    Raises
    ------
    ValueError
        For modules that import each other in a circle, with their names.
    """
    order: list[Path] = []

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            raise ValueError(f"ES modules in a circle: {' -> '.join(p.name for p in (*above, path))}")
        if path not in order:
            for name in _IMPORT.findall(path.read_text(encoding="utf-8")):
                visit((path.parent / name).resolve(), (*above, path))
            order.append(path)

    visit(entry.resolve(), ())
    return order


def script(entry: Path) -> str:
    """Return an ES module with all that it imports as one: the ``export`` of all but the default is dropped."""
    texts = (path.read_text(encoding="utf-8") for path in modules(entry))
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)


def sheet(*folders: Path) -> str:
    """Return the style sheets that all panels share, and those of a panel's own folders, as one."""
    paths = [path for each in (COMMON, *folders) for path in sorted(each.glob("*.css"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)

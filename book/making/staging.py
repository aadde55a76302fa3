"""All pages of the book beside each other in one folder, for Sphinx to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from book.making.api import index_page, room_page, rooms
from book.making.claims import claims, studies
from book.making.executing import EXECUTED, content, recorded
from book.making.linking import relink
from book.making.notebooks import fill, opening, page
from book.making.references import addresses, bibliography, citing, references

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
OWN = ("index", "teaching", "glossary", "claims", "bibliography")  # Markdown in book/
PROJECT = ("README", "DEPLOYMENT", "COMING_FROM", "CRITERIA", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")
NAMED = {"README.md": "Read me first", "data/README.md": "Data and weights"}  # whose titles say less in a list
_MADE = re.compile(r"<!-- made: (\w+) -->")


def chapters() -> dict[str, Path]:
    """Return the notebooks by name, in teaching order."""
    return {path.stem: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}


def stage(folder: Path) -> Path:
    """Lay out the source of the book in ``folder/source``; files that would be the same are left alone."""
    notebooks = {name: _read(name, folder) for name in chapters()}
    texts = {f"book/{name}.md": (BOOK / f"{name}.md").read_text() for name in OWN}
    texts |= {path.relative_to(ROOT).as_posix(): path.read_text() for path in project_pages()}
    entries = references()
    cited = addresses(entries)
    places = _places(texts)
    files: dict[str, str | bytes] = {}

    made: dict[str, Callable[[], str]] = {
        "chapters": lambda: chapter_table(notebooks),
        "chaptertree": lambda: "\n".join(
            f"{titled(opening(notebook).title, name)} <notebooks/{name}>" for name, notebook in notebooks.items()
        ),
        "projecttree": lambda: "\n".join(_entry(path, places[path]) for path in texts if path[:5] != "book/"),
        "references": lambda: bibliography(entries, _cited_in(notebooks, texts, places, cited)),
        "claims": claims,
        "studies": studies,
    }
    for path, text in texts.items():
        whole = _MADE.sub(lambda match: made[match[1]](), relink(text, path, places[path], places, cited))
        files[places[path]] = whole
    for name, notebook in notebooks.items():
        where = f"notebooks/{name}.ipynb"
        shown = page(notebook, name)
        for cell in shown.cells:
            if cell.cell_type == "markdown":
                cell.source = relink(cell.source, where, where, places, cited)
        files[where] = nbformat.writes(shown)
    for path, place in places.items():
        if place.startswith("pictures/"):
            files[place] = (ROOT / path).read_bytes()
    files["api/index.rst"] = index_page()
    files |= {f"api/{name}.rst": room_page(name, room) for name, room in rooms().items()}
    _write(files, folder / "source")
    return folder / "source"


def _entry(path: str, place: str) -> str:
    """Return a line of a table of contents."""
    return f"{NAMED[path]} <{place}>" if path in NAMED else place


def project_pages() -> list[Path]:
    """Return the project's own pages, those that everybody reads first."""
    others = sorted(path for path in ROOT.glob("*.md") if path.stem not in PROJECT)
    return [*(ROOT / f"{name}.md" for name in PROJECT), *others, ROOT / "data" / "README.md"]


def chapter_table(notebooks: Mapping[str, NotebookNode]) -> str:
    """Return the table of chapters, from what their openings say, or else the README."""
    rows = ["| chapter | needs | gives |", "|---|---|---|"]
    taught = dict(re.findall(r"^\| \[(\w+)\]\([^)]*\) \| (.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    for name, notebook in notebooks.items():
        said = opening(notebook)
        gives = said.gives or said.learn or taught.get(name, "")
        title = titled(said.title, name)
        rows.append(f"| [{title}](notebooks/{name}.ipynb) | {_cell(said.needs)} | {_cell(gives)} |")
    return "\n".join(rows)


def titled(title: str, name: str) -> str:
    """Return a chapter's title with its number, which a desk that is shown to a class goes without."""
    return title if title[0].isdigit() else f"{int(name[:2])} · {title}"


def _cell(text: str) -> str:
    """Return what an opening says with links as from the first page."""
    places = [f"notebooks/{name}.ipynb" for name in chapters()]
    return relink(text, "notebooks/opening", "index.md", dict(zip(places, places, strict=True)), {})


def _read(name: str, folder: Path) -> NotebookNode:
    """Return a notebook with what its cells gave when they were run last; without, if they were others then."""
    notebook = nbformat.read(chapters()[name], as_version=4)
    if recorded(name, folder).get("content") == content(name):
        fill(notebook, nbformat.read(folder / EXECUTED / f"{name}.ipynb", as_version=4))
    return notebook


def _places(texts: Mapping[str, str]) -> dict[str, str]:
    """Return where each page and picture of the repository lies in the book."""
    places = {path: path.removeprefix("book/") if path[:5] == "book/" else f"project/{path}" for path in texts}
    places |= {f"notebooks/{name}.ipynb": f"notebooks/{name}.ipynb" for name in chapters()}
    places["book/api/index.rst"] = "api/index.rst"
    for folder in ("notebooks", "data/results", "book/pictures"):
        for path in sorted((ROOT / folder).glob("**/*.png")):
            name = path.relative_to(ROOT).as_posix()
            places[name] = f"pictures/{name.replace('/', '-')}"
    return places


def _cited_in(
    notebooks: Mapping[str, NotebookNode], texts: Mapping[str, str], places: Mapping[str, str], cited: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return links to the pages that cite each reference, by its key."""
    names, sources = {}, []
    for name, notebook in notebooks.items():
        names[f"notebooks/{name}.ipynb"] = f"chapter {int(name[:2])}"
        source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        sources.append((f"notebooks/{name}.ipynb", source))
    for path, text in texts.items():
        names[places[path]] = Path(path).stem.lower().replace("_", " ")
        sources.append((places[path], text))
    for room in rooms():
        names[f"api/{room}.rst"] = f"the API of {room}"
        paths = sorted((ROOT / "fpgmlab" / room).rglob("*.py"))
        sources.append((f"api/{room}.rst", "\n".join(path.read_text() for path in paths)))
    found = citing(sources, cited)
    return {key: [f"[{names[place]}]({place})" for place in where] for key, where in found.items()}


def _write(files: Mapping[str, str | bytes], folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for place, text in files.items():
        data = text.encode() if isinstance(text, str) else text
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)

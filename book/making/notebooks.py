"""A notebook as a page: no progress bars, panels as pictures, captions as the words for who cannot see a figure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_markdown_cell, new_output

ROOT = Path(__file__).resolve().parents[2]
WIDGET = "application/vnd.jupyter.widget-view+json"
INJECTED = "injected-parameters"  # papermill's tag
PANEL = (
    "*A panel, here as a picture. To use it, run this chapter in JupyterLab: `make lab`, or "
    "`jupyter lab notebooks/{name}.ipynb`.*"
)


@dataclass(frozen=True)
class Opening:
    """What the first cell of a chapter says of it."""

    title: str
    needs: str
    gives: str
    learn: str


def opening(notebook: NotebookNode) -> Opening:
    """Return what a chapter's first cell says: its title, what it needs, gives and teaches."""
    text = notebook.cells[0].source

    def said(word: str) -> str:
        found = re.search(rf"^\*\*{word}\*\*:?\s*(.*?)(?:\n\s*\n|\n\*\*|\Z)", text, re.DOTALL | re.MULTILINE)
        return " ".join(found[1].split()).strip() if found else ""

    title = re.match(r"# (.+)", text)
    if title is None:
        raise ValueError(f"a chapter begins with its title, '# 6 · Repair'; not with {text[:40]!r}")
    return Opening(title[1].strip(), said("Needs"), said("Gives"), said("You will learn"))


def fill(notebook: NotebookNode, executed: NotebookNode) -> None:
    """Put the outputs of the same code into a notebook, whose text may have changed since, and the settings it had."""
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    given = [cell for cell in ran if INJECTED in cell.metadata.get("tags", [])]
    mine = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, other in zip(mine, [cell for cell in ran if cell not in given], strict=True):
        cell.outputs, cell.execution_count = other.outputs, other.execution_count
    places = [n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    if places:
        notebook.cells[places[0] + 1 : places[0] + 1] = given


def page(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a notebook, executed or not, as the book shows it."""
    cells = []
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    for cell, follows in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags}
        if cell.cell_type == "code":
            if INJECTED in tags:
                cells += [new_markdown_cell(text) for text in _settings(cell.source)]
                continue
            desk = any("PlanEditor" in text and not picture for text, picture in _panels(cell.outputs))
            cell.outputs, panels = _shown(cell.outputs)
            caption = _caption(follows.source) if follows is not None and follows.cell_type == "markdown" else ""
            words = "A panel as a picture" if panels else caption or "Figure; the text below tells what to see in it"
            cell.metadata["mystnb"] = {"image": {"alt": words}}
            cells.append(cell)
            if desk:
                cells.append(new_markdown_cell("![The plan editor](overview.png)"))
            if panels or desk:
                cells.append(new_markdown_cell(PANEL.format(name=name)))
        else:
            cells.append(cell)
    for number, cell in enumerate(cells):
        cell["id"] = str(number)
    notebook.cells = cells
    return notebook


def _panels(outputs: list[NotebookNode]) -> list[tuple[str, bool]]:
    """Return what is said of each widget, and whether it brings a picture."""
    data = [output.get("data", {}) for output in outputs]
    return [(each.get("text/plain", ""), "image/png" in each) for each in data if WIDGET in each]


def _shown(outputs: list[NotebookNode]) -> tuple[list[NotebookNode], int]:
    """Return the outputs that a page shows, and how many of them are panels."""
    kept, panels = [], 0
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue  # progress in text, and warnings
        data = output.get("data", {})
        if WIDGET in data:
            if "image/png" in data:  # a panel; a progress bar has none
                panels += 1
                kept.append(new_output("display_data", data={"image/png": data["image/png"]}))
            continue
        kept.append(_without_places(output))
    return kept, panels


def _without_places(output: NotebookNode) -> NotebookNode:
    """Return an output that says where files are as seen from the project's folder, not of the machine's."""
    return from_dict(json.loads(json.dumps(output).replace(f"{ROOT}/", "")))


def _settings(source: str) -> list[str]:
    """Return the box that tells with which settings a page was made; none if they were the chapter's own."""
    lines = [line for line in source.splitlines() if "=" in line and not line.startswith("output")]
    if not lines:
        return []
    listed = "\n".join(lines)
    return [
        ":::{admonition} Smaller settings on this page\n:class: tip\n\n"
        "The chapter asks for the values above. What you see here was computed with these, in a fraction of the time: "
        f"intervals are wider, and figures differ from those that the text names.\n\n```python\n{listed}\n```\n:::"
    ]


def _caption(text: str) -> str:
    """Return the caption with which a text begins, as plain words; a caption stands in asterisks."""
    found = re.match(r"\*([^*].*?)\*(?:\s|$)", text, re.DOTALL)
    return " ".join(re.sub(r"[`$\[\]]|\*", "", found[1]).split()) if found else ""

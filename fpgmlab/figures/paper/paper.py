"""All figures and tables of a paper, written at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.files import as_path, atomic_path
from fpgmlab.errors import one_of, unknown
from fpgmlab.figures.files import save_figure
from fpgmlab.figures.paper.computed import agreement, detections, ratios, sensitivity, sensitivity_cut
from fpgmlab.figures.paper.item import Item, Maker, Missing, Request
from fpgmlab.figures.paper.measured import (
    accuracy_macs,
    accuracy_recovered,
    recovery_seconds,
)
from fpgmlab.figures.paper.sources import Results, sources
from fpgmlab.figures.paper.tables import budgets, criteria, deployment, detector, recovered
from fpgmlab.figures.paper.timed import accuracy_ms, theory_practice
from fpgmlab.figures.style import VENUES, style

PRINTED = tuple(venue for venue in VENUES if venue != "screen")
MAKERS: dict[str, Maker] = {
    "accuracy_macs": accuracy_macs,
    "accuracy_recovered": accuracy_recovered,
    "accuracy_ms": accuracy_ms,
    "recovery_seconds": recovery_seconds,
    "theory_practice": theory_practice,
    "ratios": ratios,
    "sensitivity": sensitivity,
    "sensitivity_cut": sensitivity_cut,
    "agreement": agreement,
    "detections": detections,
    "table_criteria": criteria,
    "table_recovered": recovered,
    "table_budgets": budgets,
    "table_deployment": deployment,
    "table_detector": detector,
}
COLUMNS = ["name", "kind", "width", "inches", "file", "study", "caption", "source", "left_out"]
DOCUMENTS = ("paper.tex", "supplement.tex", "preamble.tex")
# Class option, geometry: two columns at CVPR and IEEE, one at NeurIPS.
LAYOUTS = {
    "cvpr": ("twocolumn", "textwidth=6.875in,textheight=8.875in,columnsep=0.3125in"),
    "ieee": ("twocolumn", "textwidth=7.16in,textheight=9.3in,columnsep=0.16in"),
    "neurips": ("onecolumn", "textwidth=5.5in,textheight=9in"),
}


def paper(
    results: Results = None,
    venue: str = "cvpr",
    to: str | os.PathLike[str] = "figures/",
    *,
    only: str | Collection[str] | None = None,
    network: str = "resnet20-fashion",
    captions: Mapping[str, str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Write every figure and table that a pruning paper needs, with data, captions and where each comes from.

    For each figure a PDF exactly as wide as the venue's column or text, a PNG, its data as CSV and its record as JSON;
    for each table LaTeX in the style of booktabs, its digits by its intervals, and the data as CSV. ``captions.tex``
    has their captions and sources as macros, ``index.csv`` is what is returned, and ``paper.tex`` (two pages) and
    ``supplement.tex`` show them.

    Parameters
    ----------
    results : path-like, mapping or None
        The stored studies of ``data/results`` when left out. A folder like it: its files alone. A mapping is laid over
        the stored studies: a name of theirs replaces one, or leaves it out with None; a DataFrame under any other name,
        or a CSV or Parquet file of a folder, are rows of your own, drawn beside the others: ``network``, ``method``,
        ``macs`` (of the unpruned network's, 0 to 1), ``value`` (the accuracy, 0 to 1), perhaps ``stage`` ("repaired"
        when left out, or "recovered"), ``ms`` of one call (those that come along: with 32 pictures), ``low`` and
        ``high``, the ends of its interval, both 0 to 1. Rows that are alike in all but the value are seeds. A method
        that is called as a stored one is shown as "FPGM (own)".
    venue : {"cvpr", "neurips", "ieee"}
    to : path-like
        A folder, made if it is not there.
    only : str or collection of str, optional
        Names of figures and tables, or one of them; all when left out. Others that are in the folder stay as they are.
    network : str
        The shipped classifier of which ratios, sensitivities and agreement are shown; one with curves, see
        `fpgmlab.sensitivity.shipped`.
    captions : mapping of str to str, optional
        Your own captions by name, in LaTeX, in place of those that come along. Sources stay.
    progress : bool
        Whether to show a bar: what is being made, of how many.

    Returns
    -------
    pandas.DataFrame
        A row for each figure and table: name, kind ("figure", "table"), width ("column", "page"), inches, file, study
        (or "computed"), caption, source; left_out says why there is none, where a study is not there.

    Raises
    ------
    FileNotFoundError, TypeError
        For results that are no folder, or neither of these.
    ValueError
        For another venue or name, and for rows of your own without the columns, or with what cannot be
        there: it says which row.
    """
    if venue not in PRINTED:
        raise ValueError(one_of("venue", venue, PRINTED))
    only = [only] if isinstance(only, str) else only
    for name in [*(only or ()), *(captions or {})]:
        if name not in MAKERS:
            raise ValueError(unknown("figure or table", name, MAKERS))
    request = Request(sources(results), lambda width: style(venue, width), network)
    folder = as_path(to, "to")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    names = [name for name in MAKERS if only is None or name in only]
    with progress_bar(total=len(names), progress=progress, unit="item", desc="paper") as bar:
        for name in names:
            bar.set_postfix_str(name)
            rows.append(_written(name, MAKERS[name](request), folder, venue, (captions or {}).get(name)))
            bar.update()
    index = pd.DataFrame(rows, columns=COLUMNS)
    whole = _with_others(index, folder / "index.csv") if only is not None else index
    _write(folder / "captions.tex", _captions(whole))
    _write(folder / "index.csv", whole.to_csv(index=False, lineterminator="\n"))
    for document in DOCUMENTS:
        _write(folder / document, _document(document, venue))
    return index


def _written(name: str, item: Item | Missing, folder: Path, venue: str, caption: str | None) -> dict[str, object]:
    """Write one figure or table, and return its row of the index."""
    kind = "table" if name.startswith("table_") else "figure"
    if isinstance(item, Missing):
        return {"name": name, "kind": kind, "file": "", "left_out": item.reason}
    if isinstance(item.content, Figure):
        save_figure(item.content, item.data, folder / name, venue=venue, study=item.study, source=item.source)
        file, inches = f"{name}.pdf", item.content.get_figwidth()
    else:
        _write(folder / f"{name}.tex", item.content)
        _write(folder / f"{name}.csv", item.data.to_csv(index=False, lineterminator="\n"))
        file, inches = f"{name}.tex", float("nan")
    row = {"name": name, "kind": kind, "width": item.width, "inches": inches, "file": file, "study": item.study}
    return row | {"caption": item.caption if caption is None else caption, "source": item.source, "left_out": ""}


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _with_others(index: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the index with the rows of what was written there before, in the order of all names."""
    if not path.is_file():
        return index
    before = pd.read_csv(path, keep_default_na=False)
    before["inches"] = pd.to_numeric(before["inches"])  # a table has none
    kept = before[before["name"].isin(MAKERS) & ~before["name"].isin(index["name"])]
    both = pd.concat([part for part in (index, kept) if len(part)], ignore_index=True)
    return both.sort_values("name", key=lambda names: names.map(list(MAKERS).index), ignore_index=True)


def _captions(index: pd.DataFrame) -> str:
    lines = [
        r"% \papercaption{accuracy_macs} is what a figure shows, \papersource{accuracy_macs} where it comes from.",
        r"\DeclareRobustCommand{\papercaption}[1]{\csname paper:#1:caption\endcsname}",
        r"\DeclareRobustCommand{\papersource}[1]{\csname paper:#1:source\endcsname}",
    ]
    for row in index[index["file"] != ""].to_dict("records"):
        for part in ("kind", "caption", "source"):
            text = str(row[part]).capitalize() if part == "kind" else row[part]
            lines.append(rf"\expandafter\def\csname paper:{row['name']}:{part}\endcsname{{{text}}}")
    return "\n".join(lines) + "\n"


def _document(name: str, venue: str) -> str:
    """Return a document that shows what was written, laid out for a venue."""
    columns, geometry = LAYOUTS[venue]
    text = files("fpgmlab.figures.paper").joinpath(name).read_text(encoding="utf-8")
    return text.replace("@COLUMNS@", columns).replace("@GEOMETRY@", geometry)

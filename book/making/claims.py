"""The page of claims: what this workbench says of itself, where it was measured, and all studies."""

from __future__ import annotations

import pandas as pd

import fpgmlab as fl

SHOWN = ["name", "title", "date", "version", "machine", "command", "figures"]


def claims() -> str:
    """Return the registry's table of claims in Markdown."""
    return fl.studies.claims_table(results=None)


def studies() -> str:
    """Return the table of stored studies in Markdown."""
    frame = fl.results()[SHOWN]
    frame["command"] = "`" + frame["command"] + "`"
    return _markdown(frame)


def _markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * len(frame.columns)]
    rows += [[cell.replace("|", r"\|") for cell in row] for row in frame.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)

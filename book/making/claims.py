"""The page of claims: what this workbench says of itself, and where it was measured."""

from __future__ import annotations

import fpgmlab as fl


def claims_table() -> str:
    """Return the registry's table of claims in Markdown."""
    if not hasattr(fl, "studies"):
        return ""
    frame = fl.studies.claims()
    rows = ["| " + " | ".join(map(str, frame.columns)) + " |", "|---" * len(frame.columns) + "|"]
    for row in frame.astype(str).itertuples(index=False):
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |")
    return "\n".join(rows)

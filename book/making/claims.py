"""The page of claims: what this workbench says of itself, and where it was measured."""

from __future__ import annotations

import fpgmlab as fl


def claims_table() -> str:
    """Return the registry's table of claims in Markdown."""
    return fl.studies.claims_table(results=None)

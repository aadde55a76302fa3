"""What of a page is written by studies: the table of claims between two comments, rows of tables that have a name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from fpgmlab.common.files import write_text
from fpgmlab.errors import unknown
from fpgmlab.studies.claims import Claim, read_claims
from fpgmlab.studies.files import load
from fpgmlab.studies.places import Step, found, written

BEGIN, END = "<!-- claims: written by python -m fpgmlab.studies README.md -->", "<!-- end of claims -->"
_ROWS = re.compile(r"(?P<head><!-- rows: (?P<table>[\w-]+) -->\n\n?\|.*\n\|[-| :]+\n)(?:\|.*\n)*")


def claims_table(claims: Iterable[Claim] | None = None, results: str | None = "data/results") -> str:
    """Return the claims and where they were measured as a table in Markdown.

    Parameters
    ----------
    claims : iterable of Claim, optional
        All of ``claims.toml`` when left out.
    results : str, optional
        The folder of the studies, as seen from the page; without one they are named and not linked.

    Returns
    -------
    str
        A row for each claim: the sentence, where it was measured, when, by which command.

    Raises
    ------
    ValueError
        When a claim names a study or a place that is not there.
    """
    lines = ["| claim | where it was measured | date | command |", "|---|---|---|---|"]
    for claim in read_claims() if claims is None else claims:
        study = load(claim.study)
        place = common([figure.place for figure in claim.figures])
        there = found(study, place)
        name = f"`{claim.study}`" if results is None else f"[{claim.study}]({results}/{claim.study}.json)"
        where = f"{name} `{written(place)}`" if place else name
        date, command = there.date or study["study"]["date"], there.command or study["study"]["command"]
        lines.append(f"| {claim.said(study)} | {where} | {date} | `{command}` |")
    return "\n".join(lines)


def common(places: list[tuple[Step, ...]]) -> tuple[Step, ...]:
    """Return the steps that all places begin with; of one place alone all but ``"*"`` and what follows it."""
    steps = []
    for group in zip(*places, strict=False):
        if any(step != group[0] for step in group) or group[0] == "*":
            break
        steps.append(group[0])
    return tuple(steps)


def with_table(text: str, table: str) -> str:
    """Return a page with the table between its two comments.

    Raises
    ------
    ValueError
        When it has not both of them once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the page must have {BEGIN!r} and {END!r} once each, where the table shall be")
    between = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    return between.sub(lambda _: f"{BEGIN}\n\n{table}\n\n{END}", text)


def with_rows(text: str) -> str:
    """Return a page with the rows of its tables that have a name: ``<!-- rows: repair -->`` before their heads.

    Raises
    ------
    ValueError
        When no claim has rows of a table.
    """
    claims = read_claims()

    def rows(found: re.Match[str]) -> str:
        made = [row for claim in claims for row in claim.table_rows(found["table"], load(claim.study))]
        if not made:
            known = {table for claim in claims for table in claim.rows}
            raise ValueError(unknown("table of claims", found["table"], sorted(known)))
        return found["head"] + "".join(f"{row}\n" for row in made)

    return _ROWS.sub(rows, text)


def up_to_date(text: str) -> str:
    """Return a page with the figures of today: the table of claims, and the rows of its named tables.

    Raises
    ------
    ValueError
        When there is no place for the table of claims, or no claim has rows of a named table.
    """
    return with_table(with_rows(text), claims_table())


def update(page: Path) -> bool:
    """Write today's figures into a page; return whether it has changed."""
    before = page.read_text(encoding="utf-8")
    after = up_to_date(before)
    if after != before:
        write_text(page, after)
    return after != before

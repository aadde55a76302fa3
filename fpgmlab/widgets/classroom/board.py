"""What the teacher sees: the class's plans in one table, who leads, and a page of that. Plain functions.

What comes from visitors is read as if they meant harm: limited in size, checked in kind, escaped where it is shown.
"""

from __future__ import annotations

import html
import io
import json
import math
import warnings
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from fpgmlab.common.numbers import counted
from fpgmlab.errors import one_of
from fpgmlab.sensitivity.curves.metrics import METRICS

NAME = 40  # letters
COSTS = {"ms": "milliseconds", "macs": "MACs"}
_LARGEST = 1 << 20  # bytes of a desk's file
_COLUMNS = ["visitor", "network", "macs", "ms", "value", "samples"]


def clean_name(name: str) -> str:
    """Return a name as it can be shown: one line, printable, not long."""
    return " ".join("".join(c if c.isprintable() else " " for c in name[: 10 * NAME]).split())[:NAME]


def read_seat(path: Path) -> dict[str, Any] | None:
    """Return what a desk told the class; None when that is nothing that can be used."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(256)
def _read(path: Path, changed: int) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    if told["metric"] is not None and not isinstance(told["metric"], str):
        raise ValueError("metric")
    plans = {}
    for key, each in told["plans"].items():
        networks = {
            str(network): {"value": _number(row["value"]), "samples": _number(row["samples"])}
            for network, row in each["networks"].items()
        }
        plans[key] = {"macs": _number(each["macs"]), "ms": _number(each["ms"]), "networks": networks}
    unpruned = {name: _number(told["unpruned"][name]) for name in ("macs", "ms", "value")}
    name = clean_name(told["name"])
    return {"name": name, "metric": told["metric"], "unpruned": unpruned, "plans": plans}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_class(folder: Path) -> list[dict[str, Any]]:
    """Return what all desks told, in the order of their numbers; who shares a name has the desk's beside it."""
    paths = sorted((path for path in folder.glob("*.json") if path.stem.isdigit()), key=lambda path: int(path.stem))
    seats = [seat | {"desk": int(path.stem)} for path in paths if (seat := read_seat(path)) is not None]
    names = [seat["name"] for seat in seats]
    return [
        seat | {"name": f"{seat['name']} (desk {seat['desk']})"} if names.count(seat["name"]) > 1 else seat
        for seat in seats
    ]


def class_frame(seats: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each network that was measured: visitor, network, macs (a share), ms, value, samples."""
    rows = [
        (seat["name"], network, each["macs"], each["ms"], found["value"], found["samples"])
        for seat in seats
        for each in seat["plans"].values()
        for network, found in each["networks"].items()
        if found["value"] is not None and each["macs"] is not None
    ]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.astype({"macs": float, "ms": float, "value": float, "samples": float})


def leaders(frame: pd.DataFrame, cost: str, most: float, higher_is_better: bool = True) -> pd.DataFrame:
    """Return each visitor's best network within a budget, the best first.

    Parameters
    ----------
    frame : pandas.DataFrame
        See `class_frame`.
    cost : {"ms", "macs"}
    most : float
        In its unit.
    higher_is_better : bool

    Raises
    ------
    ValueError
        For another cost.
    """
    if cost not in COSTS:
        raise ValueError(one_of("cost", cost, COSTS))
    within = frame[frame[cost] <= most * (1 + 1e-9)]
    # Of equal ones the cheaper.
    ranked = within.sort_values(["value", cost], ascending=[not higher_is_better, True], kind="stable")
    return ranked.drop_duplicates("visitor").reset_index(drop=True)


def board(seats: list[dict[str, Any]], cost: str, share: float, opened: Collection[int] | None = None) -> str:
    """Return the changing part of the teacher's page: two figures and a table, as HTML.

    Parameters
    ----------
    seats : list of dict
        See `read_class`.
    opened : collection of int, optional
        The numbers of the desks at which somebody sits; all of ``seats`` when left out. What was measured at others
        is shown as well: a page that is closed takes nothing back.
    cost : {"ms", "macs"}
    share : float
        Of the unpruned network's, the budget.
    """
    from fpgmlab.figures import class_plans

    frame = class_frame(seats)
    unpruned = next((seat["unpruned"] for seat in seats if seat["unpruned"]["value"] is not None), None)
    metric = next((seat["metric"] for seat in seats if seat["metric"]), "accuracy")
    count = f"<p>{_counts(seats, opened)}</p>"
    if unpruned is None or frame.empty:
        return count
    better = METRICS[metric].higher_is_better if metric in METRICS else True
    costs = [name for name in COSTS if unpruned[name] is not None and frame[name].notna().all()]
    cost = cost if cost in costs else costs[-1]
    first = leaders(frame, cost, share * unpruned[cost], better)
    drawn = [
        class_plans(frame, unpruned, cost=each, share=share, metric=metric, higher_is_better=better) for each in costs
    ]
    figures = "".join(f"<figure>{_svg(figure)}</figure>" for figure in drawn)
    head = f"<h2>Best {html.escape(metric)} at {100 * share:.4g} % of the {COSTS[cost]}</h2>"
    return f'{count}<div class="figures">{figures}</div>{head}{_table(first, metric, unpruned)}'


def _counts(seats: list[dict[str, Any]], opened: Collection[int] | None) -> str:
    """Say how many desks there are, and how many plans were measured at them, in a sentence each."""
    numbers = {seat["desk"] for seat in seats} if opened is None else opened
    plans = [
        sum(any(n["value"] is not None for n in p["networks"].values()) for p in s["plans"].values()) for s in seats
    ]
    left = sum(count > 0 and seat["desk"] not in numbers for seat, count in zip(seats, plans, strict=True))
    closed = f", {left} closed whose plans stay here" if left else ""
    measured = f"{counted(sum(plans), 'plan')} measured." if sum(plans) else "No plan was measured yet."
    return f"{counted(len(numbers), 'desk')} open{closed}. {measured}"


def _table(first: pd.DataFrame, metric: str, unpruned: dict[str, float | None]) -> str:
    if first.empty:
        return "<p>No measured plan is within it yet.</p>"
    percent = unpruned["value"] is not None and 0 <= unpruned["value"] <= 1
    rows = []
    for place, row in enumerate(first.itertuples(index=False), 1):
        value = f"{100 * row.value:.2f} %" if percent else f"{row.value:.4g}"
        ms = "" if math.isnan(row.ms) else f"{row.ms:.3f}"
        cells = (place, row.visitor, value, row.network, f"{100 * row.macs:.1f} %", ms, f"{row.samples:,.0f}")
        rows.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
    heads = ("", "visitor", metric, "network", "MACs", "ms", "pictures")
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _svg(figure: Any) -> str:
    target = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has letters that the measuring font has not
        figure.savefig(target, format="svg", metadata={"Date": None})
    text = target.getvalue()
    return text[text.index("<svg") :]

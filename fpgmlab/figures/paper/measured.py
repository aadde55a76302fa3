"""Figures of what stored studies measured."""

from __future__ import annotations

import re

import pandas as pd

from fpgmlab.figures.comparison import comparison, is_nominal
from fpgmlab.figures.paper.item import Item, Missing, Request, label, stored
from fpgmlab.figures.paper.latex import escaped, sentence
from fpgmlab.figures.paper.sources import Sources
from fpgmlab.figures.seconds import points_over_seconds

GRID = 10_000  # pictures of the trainings that compare criteria
_WAYS = (
    *("as cut", "recalibrated", "repair", "from scratch", "trained", "repair, trained"),
    *(
        "repair, distilled",
        "repair, distilled, features",
        "soft pruning",
        "gradual, repaired",
        "gradual, repaired and distilled",
    ),
)
ORDER = ("FPGM", "reconstruction", "L2", "L1", "BN gamma", "FPGM mix")


def after_repair(sources: Sources) -> pd.DataFrame:
    """Return criteria after repair, stored and one's own: network, method, macs, value, low, high, seeds."""
    rows = []
    for network, study in sources.study("reconstruction", "networks").items():
        for criterion, budgets in study["after_repair"].items():
            for macs, found in budgets.items():
                ends = {"value": found["mean"] / 100, "low": found["low"] / 100, "high": found["high"] / 100}
                row = {"network": network, "method": label(criterion), "macs": float(macs)} | ends
                rows.append(row | {"seeds": len(found["draws"])})
    return _with_own(rows, sources.mine("repaired"))


def after_training(sources: Sources) -> pd.DataFrame:
    """Return the same after distillation from the repaired network."""
    found = grid(sources)
    found = found[found["way"] == "repair, distilled"] if len(found) else found
    rows = [
        {"network": row["network"], "method": label(row["criterion"]), "macs": row["macs"], "value": row["test"]}
        | {end: row["test"] + (row[end] - row["points"]) / 100 for end in ("low", "high")}
        | {"seeds": row["seeds"]}
        for row in found.to_dict("records")
    ]
    return _with_own(rows, sources.mine("recovered"))


def grid(sources: Sources) -> pd.DataFrame:
    """Return the rows of the study of recovery that compare criteria, for each network of the fullest allocation."""
    rows = pd.DataFrame(sources.study("recovery").get("ways", []))
    if rows.empty:
        return rows
    rows = rows[rows["pictures"].eq(GRID) & (rows["epochs"].eq(3) | rows["way"].eq("repair"))]
    parts = []
    for _, part in rows.groupby("network", sort=True):
        counts = part["allocation"].value_counts()
        fullest = sorted(counts.index, key=lambda name: (-counts[name], name != "uniform"))[0]
        parts.append(part[part["allocation"] == fullest])
    return pd.concat(parts) if parts else rows


def _with_own(rows: list[dict[str, object]], own: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows and one's own, in the order of criteria."""
    parts = [pd.DataFrame(rows)] if rows else []
    if not own.empty:
        parts.append(own[["network", "method", "macs", "value", "low", "high", "seeds"]])
    if not parts:
        return pd.DataFrame()
    return in_order(pd.concat(parts, ignore_index=True), "method")


def in_order(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return rows in the order that criteria have in all figures and tables: one's own next to last, random last.

    Parameters
    ----------
    frame : pandas.DataFrame
    column : str
        Which says the criterion.
    """
    order = {name: number for number, name in enumerate(ORDER)}
    return frame.sort_values(
        column,
        key=lambda names: names.map(lambda name: order.get(label(name), len(order) + (name == "random"))),
        kind="stable",
        ignore_index=True,
    )


def accuracy_macs(request: Request) -> Item | Missing:
    sources = request.sources
    frame = after_repair(sources)
    if frame.empty:
        return Missing("no study 'reconstruction' and no rows of your own")
    networks = sources.study("reconstruction", "networks")
    unpruned = {network: study["unpruned"] / 100 for network, study in networks.items()}
    figure = comparison(frame, "macs", panel="network", unpruned=unpruned or None,
                        labels=(None, "accuracy after repair"), style=request.style("page"))  # fmt: skip
    caption = "Accuracy after repair over the MACs that remain, by criterion, the same share removed from each layer."
    caption += f"{_beside(frame)} {_counted(frame)}{given(sources, 'repaired')}{_own(sources, 'repaired')}"
    judged = sources.study("reconstruction", "pictures").get("to_judge")
    samples = f"{judged:,} pictures, not trained on" if judged else ""
    source = sourced(sources, "reconstruction", stage="repaired", samples=samples)
    return Item(figure, frame, sentence(caption), source, "reconstruction", "page")


def accuracy_recovered(request: Request) -> Item | Missing:
    sources = request.sources
    frame = after_training(sources)
    if frame.empty:
        return Missing("no criteria compared after training in study 'recovery', and no such rows of your own")
    width = "page" if len(set(frame["network"])) > 1 else "column"
    unpruned = sources.study("recovery", "unpruned") or None
    figure = comparison(frame, "macs", panel="network", unpruned=unpruned,
                        labels=(None, "accuracy after distillation"), style=request.style(width))  # fmt: skip
    allocations = grid(sources)
    cells = ", ".join(sorted(set(allocations["allocation"]))) if len(allocations) else "own rows"
    caption = (
        f"Accuracy after repair and three epochs of distillation, by criterion ({cells}).{_beside(frame)} "
        f"Bars: 95 % intervals over test pictures and {seeds_of(frame['seeds'])}."
        f"{given(sources, 'recovered')}{_own(sources, 'recovered')}"
    )
    measured = so_far(sources)
    source = sourced(sources, "recovery", stage="recovered", samples=measured)
    return Item(figure, frame, sentence(caption), source, "recovery", width)


def sourced(sources: Sources, name: str, *keys: str, stage: str, samples: str = "") -> str:
    """Return where a figure's numbers come from that a study has, or who calls, or both."""
    told = [stored(sources, name, *keys, samples=samples, note=False)] if sources.study(name) else []
    if not sources.mine(stage).empty:
        told.append(f"{escaped(', '.join(dict.fromkeys(sources.mine(stage)['method'])))}: own measurements.")
    return " ".join(told)


def recovery_seconds(request: Request) -> Item | Missing:
    study = request.sources.tables.get("recovery")
    if study is None or study.empty:
        return Missing("no table 'recovery'")
    study = study[(study["criterion"] == "reconstruction") & (study["pictures"] != GRID)]
    study = study.assign(points=100 * (study["test"] - study["unpruned"]), setting=study["epochs"] * study["pictures"])
    study["seconds"] = study["processor_seconds"].where(study["way"] != "as cut", 0.0)
    shown = []
    for _, part in study.groupby("network", sort=False):
        ways = part.groupby("macs")["way"].agg(["nunique", "size"]).reset_index()
        fullest = ways.sort_values(["nunique", "size", "macs"])["macs"].iloc[-1]  # where most ways were measured
        shown.append(part[part["macs"] == fullest])
    frame = pd.concat(shown)
    frame = frame.assign(network=frame["network"] + frame["macs"].map(", {:.0%} of the MACs".format))
    order = {way: number for number, way in enumerate(_WAYS)}
    frame = frame.sort_values("way", key=lambda ways: ways.map(lambda way: order.get(way, 99)), kind="stable")
    figure = points_over_seconds(frame, panel="network", style=request.style("page"))
    seeds = frame.groupby(["network", "way", "setting"])["seed"].nunique()
    caption = (
        "Points of test accuracy beside the unpruned network over the seconds of recovery on one core. A dot is one "
        f"network, trained to the end of its schedule; {len(frame)} of them, {_range(seeds)} seeds for each way and "
        "length; lines go through their means. Within one point the scale is linear; no seconds stand at the left edge."
    )
    data = frame[["network", "way", "epochs", "pictures", "seed", "seconds", "points"]].reset_index(drop=True)
    measured = so_far(request.sources)
    return Item(
        figure, data, sentence(caption), stored(request.sources, "recovery", samples=measured), "recovery", "page"
    )


def so_far(sources: Sources) -> str:
    """Return how much of the study of recovery is there, in words.

    Parameters
    ----------
    sources : Sources
    """
    numbers = re.findall(r"\d+", str(sources.study("recovery").get("measured", "")))
    return "{:,} of {:,} settings measured so far".format(*map(int, numbers)) if len(numbers) == 2 else ""


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def seeds_of(counts: pd.Series) -> str:
    """Return of how many seeds, in words."""
    return "one seed" if counts.max() == 1 else f"{_range(counts)} seeds"


def _beside(frame: pd.DataFrame) -> str:
    """Return the sentence that says where points do not stand at their cost."""
    moved = any(is_nominal(part) for _, part in frame.groupby("network"))
    return " Criteria at one budget stand side by side only to be seen." if moved else ""


def _own(sources: Sources, stage: str) -> str:
    """Return the sentence that says which methods were measured by who calls."""
    own = sources.mine(stage)
    return "" if own.empty else f" Measured by ourselves: {', '.join(dict.fromkeys(own['method']))}."


def given(sources: Sources, stage: str) -> str:
    """Return the sentence about intervals that came along with rows of one's own, of draws that nobody told.

    Parameters
    ----------
    sources : Sources
    stage : {"repaired", "recovered"}
    """
    own = sources.mine(stage)
    told = [] if own.empty else own.loc[own["low"].notna() & (own["seeds"] < 2), "method"]
    return f" Intervals as given with the rows: {', '.join(dict.fromkeys(told))}." if len(told) else ""


def _counted(frame: pd.DataFrame) -> str:
    """Return the sentence about intervals over draws."""
    barred, many = frame["low"].notna(), frame["seeds"] > 1
    if not barred.any():
        return "No intervals." if many.any() else "One draw each: no intervals."
    alone = " (none where there was one draw)" if not barred.all() else ""
    over = f" over {_range(frame['seeds'][barred & many])} draws" if (barred & many).any() else ""
    return f"Bars: 95 % intervals{over}{alone}." if over else f"Bars: intervals{alone}."

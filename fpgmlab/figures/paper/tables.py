"""Tables of a paper: value and half-width of its interval, to the digits that the interval leaves."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from fpgmlab.figures.paper.intervals import interval, wilson
from fpgmlab.figures.paper.item import Item, Missing, Request, label, stored
from fpgmlab.figures.paper.latex import escaped, parted, plus_minus, sentence, share, spanned, tabular
from fpgmlab.figures.paper.measured import after_repair, given, grid, in_order, seeds_of, so_far, sourced
from fpgmlab.figures.paper.timed import PICTURES, deployed, is_busy, is_earlier

_SHORT = {"repair": "repair", "repair, trained": "+ training", "repair, distilled": "+ distillation"}


def criteria(request: Request) -> Item | Missing:
    frame = after_repair(request.sources)
    if frame.empty:
        return Missing("no study 'reconstruction' and no rows of your own")
    shares, places = _columns(frame)
    budgets = sorted(shares.unique(), reverse=True)
    rows = []
    for (network, method), part in frame.groupby(["network", "method"], sort=False):
        by = part.set_index(shares[part.index])
        cells = {"network": escaped(str(network)), "method": escaped(str(method))}
        for budget in budgets:
            there = budget in by.index
            cells[f"{budget}"] = _percent(by.loc[budget].to_dict()) if there else "--"
        rows.append(cells)
    shown = pd.DataFrame(rows).sort_values("network", kind="stable")
    heads = [["criterion", *(share(budget, places) for budget in budgets)]]
    tex = tabular("l" + "r" * len(budgets), heads, spanned(shown, "network", ["method", *map(str, budgets)]))
    caption = (
        "Accuracy in percent after repair, by criterion and by the MACs that remain, with 95 % intervals over draws."
    )
    caption += given(request.sources, "repaired")
    source = sourced(request.sources, "reconstruction", stage="repaired")
    return Item(tex, frame, sentence(caption), source, "reconstruction")


def _columns(frame: pd.DataFrame) -> tuple[pd.Series, int]:
    """Return the share of MACs below which each row stands, and its decimals as percent.

    Measured MACs (49.7 %) stand below their budget (50 %), unless two rows of one method would fall together.
    """
    for places in range(7):
        shares = (100 * frame["macs"]).round(places) / 100
        if not frame.assign(share=shares).duplicated(["network", "method", "share"]).any():
            return shares, places
    return frame["macs"], 7


def recovered(request: Request) -> Item | Missing:
    rows = grid(request.sources)
    rows = rows[rows["way"].isin(_SHORT)] if len(rows) else rows
    if rows.empty:
        return Missing("no criteria compared after training in study 'recovery'")
    rows = in_order(rows, "criterion")
    keys = ["network", "allocation", "macs", "criterion"]
    cells = []
    for setting, part in rows.groupby(keys, sort=False):
        by = part.set_index("way")
        cells.append(dict(zip(keys, setting, strict=True)) | {"seeds": int(part["seeds"].min())} | {
            way: plus_minus(by.loc[way, "points"], (by.loc[way, "high"] - by.loc[way, "low"]) / 2) if way in by.index
            else "--" for way in _SHORT})  # fmt: skip
    shown = pd.DataFrame(cells).sort_values(
        ["network", "allocation", "macs"], ascending=[True, True, False], kind="stable"
    )
    shown["setting"] = [sentence(f"{r.network}, {r.allocation}, {r.macs:.0%} of the MACs") for r in shown.itertuples()]
    shown["criterion"] = [escaped(label(name)) for name in shown["criterion"]]
    tex = tabular("l" + "r" * len(_SHORT), [["criterion", *_SHORT.values()]],
                  spanned(shown, "setting", ["criterion", *_SHORT]))  # fmt: skip
    caption = (
        "Points of test accuracy beside the unpruned network by criterion, after repair alone and after training or "
        "distillation from there (three epochs of 10,000 pictures). 95 % intervals over pictures and "
        f"{seeds_of(shown['seeds'])}."
    )
    return Item(tex, rows.reset_index(drop=True), sentence(caption),
                stored(request.sources, "recovery", samples=so_far(request.sources)),
                "recovery")  # fmt: skip


def budgets(request: Request) -> Item | Missing:
    rows = []
    for name, found in request.sources.study("repair", "classifiers").items():
        if not isinstance(found, dict) or "repaired" not in found:
            continue
        network, budget, allocation, criterion = name.split(", ")
        draws = 100 * np.array(found["repaired"]["draws"])
        low, high = interval(draws)
        row = {"network": network, "budget": float(budget.rstrip("%")) / 100, "macs": found["macs"]}
        row |= {"plan": f"{allocation}, {label(criterion)}", "repaired": draws.mean(), "low": low, "high": high}
        row |= {stage: 100 * found[stage] for stage in ("as cut", "recalibrated")}
        rows.append(row | {"draws": len(draws)})
    if not rows:
        return Missing("no study 'repair'")
    frame = pd.DataFrame(rows)
    cells = frame.assign(
        plan=frame["plan"].map(escaped),
        budget=frame["budget"].map(share),
        repaired=[plus_minus(row.repaired, (row.high - row.low) / 2) for row in frame.itertuples()],
        **{stage: frame[stage].map("${:.1f}$".format) for stage in ("as cut", "recalibrated")},
    )
    shown = ["budget", "plan", "as cut", "recalibrated", "repaired"]
    tex = tabular("lrlrrr", [["network", "MACs", *shown[1:]]], parted(cells, "network", shown))
    caption = (
        "Accuracy in percent at several budgets: as cut, with recalibrated batch norms, and repaired, with 95 % "
        f"intervals over {int(frame['draws'].max())} draws of pictures to repair with."
    )
    return Item(tex, frame, sentence(caption), stored(request.sources, "repair", "classifiers"), "repair", "page")


def deployment(request: Request) -> Item | Missing:
    rows = []
    for _, network, found in deployed(request.sources):
        told = {"batch": found.get("batch"), "earlier": is_earlier(network, found), "busy": is_busy(found)}
        for state, kind in product(("unpruned", "repaired"), ("float32", "int8")):
            here, other = found[state][kind], found[state]["float32" if kind == "float32" else "int8 of NNCF"]
            metric = "accuracy" if "accuracy" in here else "map50"
            low, high = wilson(here[metric], PICTURES) if metric == "accuracy" else (np.nan, np.nan)
            row = {"network": network, "state": state, "macs": found["macs"] if state == "repaired" else 1.0}
            row |= {"format": "INT8" if kind == "int8" else kind, "kB": here["bytes"] / 1000, "metric": metric}
            row |= {"onnxruntime": here["ms in onnxruntime"], "openvino": other["ms in openvino"]}
            row |= dict.fromkeys(("onnxruntime", "openvino"), np.nan) if told["busy"] else {}
            rows.append(row | {"value": here[metric], "low": low, "high": high} | told)
    if not rows:
        return Missing("no study 'quantization'")
    frame = pd.DataFrame(rows)
    cells = frame.assign(
        network=frame["network"].where(~frame["earlier"], frame["network"] + "†"),
        macs=frame["macs"].map(share),
        value=[_percent(row) for row in frame.to_dict("records")],
        kB=frame["kB"].map("{:,.0f}".format),
        **{
            name: frame[name].map("{:.1f}".format).where(frame[name].notna(), "--")
            for name in ("onnxruntime", "openvino")
        },
    )
    shown = ["state", "macs", "format", "kB", "onnxruntime", "openvino", "value"]
    heads = [["network", "state", "MACs", "format", "kB", "ONNX Runtime", "OpenVINO", r"\%"]]
    tex = tabular("llrlrrrr", heads, parted(cells, "network", shown)).replace("†", r"$^\dagger$")
    calls = {row["batch"]: row["metric"] for row in rows if row["batch"]}
    of = " or ".join(f"{batch} picture{'s' * (batch > 1)}" for batch in sorted(calls, reverse=True))
    of += " (the detector)" if len(calls) > 1 and calls[min(calls)] == "map50" else ""
    caption = (
        f"What is shipped: size of the file, milliseconds of one call{f' with {of}' * bool(of)} in two runtimes, "
        "accuracy in percent with 95 % intervals over the pictures (of the detector: mean average precision at 0.5), "
        "in float32 and in INT8 (OpenVINO's by NNCF)."
    )
    if frame["busy"].any():
        caption += " A dash: the machine was busy when the time was taken, which is left out."
    said = sentence(caption)
    if frame["earlier"].any():
        said += r" $\dagger$: with earlier weights than the classifier that ships, which other figures show."
    return Item(tex, frame, said, stored(request.sources, "quantization", note=False), "quantization", "page")


def detector(request: Request) -> Item | Missing:
    study = request.sources.study("detector")
    if not study:
        return Missing("no study 'detector'")
    rows = []
    for name, found in study["networks"].items():
        seeds = 100 * np.array(found["map50_by_seed"])
        times = study["latency"].get(name, {})
        faster = [value for key, value in times.items() if key.startswith("faster")]
        low, high = interval(seeds)
        row = {"network": name, "macs": found.get("macs", 1.0), "params": found.get("params", 1.0), "seeds": len(seeds)}
        row |= {"faster": np.mean(faster) if faster else np.nan, "map50": seeds.mean(), "low": low, "high": high}
        rows.append(row)
    frame = pd.DataFrame(rows)
    lines = [
        [
            escaped(row.network.replace("fpgm", "FPGM").replace("l1", "L1")),
            share(row.macs),
            share(row.params),
            "--" if np.isnan(row.faster) else rf"${row.faster:.2f}\times$",
            plus_minus(row.map50, (row.high - row.low) / 2),
        ]
        for row in frame.itertuples()
    ]
    tex = tabular("lrrrr", [["network", "MACs", "params", "faster", "mAP"]], [lines])
    caption = (
        f"A detector, pruned and trained again ({study.get('what', 'YOLOv5s')}): share of MACs and parameters, speed, "
        "and mean average precision at 0.5 in percent, with 95 % intervals over "
        f"{int(frame['seeds'].max())} seeds."
    )
    return Item(tex, frame, sentence(caption), stored(request.sources, "detector"), "detector")


def _percent(row: Mapping[Hashable, Any]) -> str:
    return plus_minus(100 * row["value"], 50 * (row["high"] - row["low"]))

"""Figures of what stored studies measured."""

from __future__ import annotations

import pandas as pd

from fpgmlab.figures.comparison import comparison
from fpgmlab.figures.paper.item import Item, Missing, Request, label, stored
from fpgmlab.figures.paper.latex import escaped, sentence
from fpgmlab.figures.paper.sources import Sources, wilson
from fpgmlab.figures.seconds import points_over_seconds

GRID = 10_000  # pictures of the trainings that compare criteria
PICTURES = 10_000  # by which deployed networks were judged
_WAYS = (
    *("as cut", "recalibrated", "repair", "trained", "repair, trained", "repair, distilled"),
    *("repair, distilled, features", "soft pruning", "gradual, repaired", "gradual, repaired and distilled"),
)
_PLANS = {
    "by MACs, multiple=1": "by MACs, any number",
    "by MACs, multiple=8": "by MACs, multiples of 8",
    "by MACs, multiple=runtime": "by MACs, whole blocks",
}


def after_repair(sources: Sources) -> pd.DataFrame:
    """Return criteria after repair, stored and one's own: network, method, macs, value, low, high, seeds."""
    rows = []
    for network, study in sources.study("reconstruction", "networks").items():
        for criterion, budgets in study["after_repair"].items():
            for macs, found in budgets.items():
                ends = {name: found[name] / 100 for name in ("mean", "low", "high")}
                rows.append({"network": network, "method": label(criterion), "macs": float(macs)}
                            | {"value": ends["mean"], "low": ends["low"], "high": ends["high"]}
                            | {"seeds": len(found["draws"])})  # fmt: skip
    own = sources.mine("repaired")
    columns = ["network", "method", "macs", "value", "low", "high", "seeds"]
    parts = [pd.DataFrame(rows), *([] if own.empty else [own[columns]])]
    found = pd.concat([part for part in parts if len(part)], ignore_index=True) if rows or len(own) else pd.DataFrame()
    order = ["FPGM", "reconstruction"]
    if found.empty:
        return found
    return found.sort_values("method", key=lambda names: names.map(lambda n: order.index(n) if n in order else 2),
                             kind="stable", ignore_index=True)  # fmt: skip


def accuracy_macs(request: Request) -> Item | Missing:
    sources = request.sources
    frame = after_repair(sources)
    if frame.empty:
        return Missing("no study 'reconstruction' and no rows of your own")
    networks = sources.study("reconstruction", "networks")
    unpruned = {network: study["unpruned"] / 100 for network, study in networks.items()}
    figure = comparison(frame, "macs", panel="network", unpruned=unpruned or None,
                        labels=(None, "accuracy after repair"), style=request.style("page"))  # fmt: skip
    own = sorted(set(sources.mine("repaired").get("method", [])))
    caption = "Accuracy after repair over the MACs that remain, by criterion, the same share removed from each layer."
    caption += f" {_counted(frame['seeds'])}"
    if own:
        caption += f" Measured by ourselves: {', '.join(own)}."
    judged = sources.study("reconstruction", "pictures").get("to_judge")
    samples = f"{judged:,} pictures, not trained on" if judged else ""
    source = (
        stored(sources, "reconstruction", samples=samples) if networks else escaped(f"Own rows in {sources.where}.")
    )
    return Item(figure, frame, sentence(caption), source, "reconstruction", "page")


def accuracy_ms(request: Request) -> Item | Missing:
    rows, notes = [], []
    for part in ("resnet20, half of the MACs, multiples of 4", "vgg16, INT8 3.1 times faster, by milliseconds"):
        study = request.sources.study("quantization", part)
        if "unpruned" not in study:
            continue
        notes.append(part)
        for state in ("unpruned", "repaired"):
            for kind, found in study[state].items():
                for runtime, name in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
                    if f"ms in {runtime}" in found:
                        value = found["accuracy"]
                        low, high = wilson(value, PICTURES)
                        method = f"{name}, {'float32' if kind == 'float32' else 'INT8'}"
                        share = 1.0 if state == "unpruned" else study["macs"]
                        rows.append((f"{part.partition(',')[0]}-fashion", method, found[f"ms in {runtime}"], value, low,
                                     high, share, state == "unpruned"))  # fmt: skip
    columns = ["network", "method", "ms", "value", "low", "high", "macs", "open"]
    frame = pd.DataFrame(rows, columns=columns)
    own = request.sources.mine("repaired")
    if not own.empty and own["ms"].notna().any():
        own = own[own["ms"].notna()].assign(open=False)[columns]
        frame = own if frame.empty else pd.concat([frame, own], ignore_index=True)
    if frame.empty:
        return Missing("no study 'quantization' and no rows of your own with ms")
    figure = comparison(frame, "ms", panel="network", style=request.style("page"))
    caption = (
        "Accuracy over the milliseconds of one call: unpruned (hollow) and pruned and repaired (full), in float32 and "
        "INT8, in two runtimes. Bars: 95 % intervals over the pictures of one network (Wilson)."
    )
    source = stored(request.sources, "quantization", *notes[:1], samples="10,000 pictures") if notes else ""
    if len(notes) > 1 and "note" in request.sources.study("quantization", notes[0]):
        source = source.replace("times were taken", f"times of {notes[0].partition(',')[0]} were taken")
    return Item(figure, frame, sentence(caption), source, "quantization", "page")


def theory_practice(request: Request) -> Item | Missing:
    rows = pd.DataFrame(request.sources.study("latency", "planning").get("rows", []))
    if rows.empty:
        return Missing("no study 'latency'")
    frame = rows[rows["batch"] == 1].assign(
        method=[_PLANS.get(plan, "by milliseconds") for plan in rows["plan"][rows["batch"] == 1]]
    )
    frame = frame.rename(columns={"time": "value"})[["network", "method", "plan", "macs", "value", "predicted time"]]
    figure = comparison(frame, "macs", panel="network", labels=(None, "time that remains"), diagonal=True,
                        style=request.style("page"))  # fmt: skip
    caption = (
        "Theory against practice: the time that remains over the MACs that remain, measured, of plans made by MACs and "
        "by milliseconds. On the dashed line all saved MACs come back as time."
    )
    return Item(figure, frame, sentence(caption), stored(request.sources, "latency", "planning"), "latency", "page")


def recovery_seconds(request: Request) -> Item | Missing:
    study = request.sources.tables.get("recovery")
    if study is None or study.empty:
        return Missing("no table 'recovery'")
    study = study[(study["criterion"] == "reconstruction") & (study["pictures"] != GRID)]
    study = study.assign(points=100 * (study["test"] - study["unpruned"]), setting=study["epochs"] * study["pictures"])
    study["seconds"] = study["processor_seconds"].where(study["way"] != "as cut", 0.0)
    shown = []
    for _, part in study.groupby("network", sort=False):
        ways = part.groupby("macs")["way"].agg(["nunique", "size"]).sort_values(["nunique", "size"])
        shown.append(part[part["macs"] == ways.index[-1]])
    frame = pd.concat(shown)
    frame = frame.assign(network=frame["network"] + frame["macs"].map(", {:.0%} of the MACs".format))
    order = {way: number for number, way in enumerate(_WAYS)}
    frame = frame.sort_values("way", key=lambda ways: ways.map(lambda way: order.get(way, 99)), kind="stable")
    figure = points_over_seconds(frame, panel="network", style=request.style("page"))
    seeds = frame.groupby(["network", "way", "setting"])["seed"].nunique()
    caption = (
        "Points of test accuracy beside the unpruned network over the seconds of recovery on one core. A dot is one "
        f"network, trained to the end of its schedule; {len(frame)} of them, {_range(seeds)} seeds for each way and "
        "length; lines go through their means. Within one point the scale is linear."
    )
    data = frame[["network", "way", "epochs", "pictures", "seed", "seconds", "points"]].reset_index(drop=True)
    measured = request.sources.study("recovery").get("measured", "")
    return Item(
        figure, data, sentence(caption), stored(request.sources, "recovery", samples=measured), "recovery", "page"
    )


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _counted(seeds: pd.Series) -> str:
    """Return the sentence about intervals."""
    if seeds.max() < 2:
        return "One draw each: no intervals."
    alone = " (none where there was one draw)" if seeds.min() < 2 else ""
    return f"Bars: 95 % intervals over {_range(seeds[seeds > 1])} draws{alone}."

"""Figures of what comes back as time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pandas as pd

from fpgmlab.figures.comparison import comparison
from fpgmlab.figures.paper.intervals import wilson
from fpgmlab.figures.paper.item import Item, Missing, Request, stored
from fpgmlab.figures.paper.latex import sentence
from fpgmlab.figures.paper.measured import given, sourced
from fpgmlab.figures.paper.sources import Sources

PICTURES = 10_000  # by which deployed networks were judged
EARLIER = "Earlier weights: not of the classifier that other figures show."
_PLANS = {
    "by MACs, multiple=1": "by MACs, any number",
    "by MACs, multiple=8": "by MACs, multiples of 8",
    "by MACs, multiple=runtime": "by MACs, whole blocks",
}
_RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def accuracy_ms(request: Request) -> Item | Missing:
    parts = {
        part: (network, found)
        for part, network, found in deployed(request.sources)
        if "accuracy" in found["repaired"]["int8"] and not is_busy(found)
    }
    rows = []
    for network, found in parts.values():
        for state, kind, (runtime, name) in product(("unpruned", "repaired"), found["unpruned"], _RUNTIMES.items()):
            here = found[state][kind]
            if f"ms in {runtime}" in here:
                low, high = wilson(here["accuracy"], PICTURES)
                row: dict[str, object] = {
                    "network": f"{network}-fashion{', earlier weights' if is_earlier(network, found) else ''}",
                    "method": f"{name}, {'INT8' if 'int8' in kind else kind}",
                }
                row |= {"ms": here[f"ms in {runtime}"], "batch": found.get("batch"), "value": here["accuracy"]}
                row |= {"low": low, "high": high, "macs": found["macs"] if state == "repaired" else 1.0}
                rows.append(row | {"open": state == "unpruned"})
    frame = pd.DataFrame(rows)
    batches = sorted({found["batch"] for _, found in parts.values() if "batch" in found})
    of = f" with {batches[0]} pictures" if len(batches) == 1 else ""
    own = request.sources.mine("repaired")
    mine = not own.empty and own["ms"].notna().any()
    if mine:
        own = own[own["ms"].notna()].assign(open=False).drop(columns=["stage", "seeds"])
        frame = own if frame.empty else pd.concat([frame, own], ignore_index=True)
    if frame.empty:
        return Missing("no times of a quiet machine in study 'quantization', and no rows of your own with ms")
    width = "page" if len(set(frame["network"])) > 1 else "column"
    figure = comparison(frame, "ms", panel="network", style=request.style(width),
                        labels=(None if mine else f"milliseconds of one call{of}", "accuracy"))  # fmt: skip
    caption = (
        f"Accuracy over the milliseconds of one call{of}: unpruned (hollow) and pruned and repaired (full), in float32 "
        "and INT8, in two runtimes. Bars: 95 % intervals over the pictures of one network (Wilson)."
    )
    caption += f" {EARLIER}" if any(is_earlier(*part) for part in parts.values()) else ""
    caption += given(request.sources, "repaired") if mine else ""
    source = sourced(request.sources, "quantization", *list(parts)[:1], stage="repaired")
    return Item(figure, frame, sentence(caption), source, "quantization", width)


def is_busy(found: Mapping[str, Any]) -> bool:
    """Return whether a part's times were taken while the machine did other things: they are not shown.

    Parameters
    ----------
    found : mapping
        Part of a study.
    """
    return "busy" in found.get("note", "")


def is_earlier(network: str, found: Mapping[str, Any]) -> bool:
    """Return whether a part was measured with other weights than those that ship under a network's name.

    Parameters
    ----------
    network : str
        As the study calls it.
    found : mapping
        Part of a study.
    """
    return network in found.get("earlier weights", ())


def deployed(sources: Sources) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield key, network and contents of each setting that was deployed; timed on a quiet machine, if one was."""
    study = sources.study("quantization")
    there = [(part, part.partition(",")[0], found) for part, found in study.items() if "unpruned" in found]
    quiet = {network for _, network, found in there if not is_busy(found)}
    for part, network, found in there:
        if not is_busy(found) or network not in quiet:
            yield part, network, found


def theory_practice(request: Request) -> Item | Missing:
    rows = pd.DataFrame(request.sources.study("latency", "planning").get("rows", []))
    if rows.empty:
        return Missing("no study 'latency'")
    frame = rows[rows["batch"] == 1].assign(
        method=[_PLANS.get(plan, "by milliseconds") for plan in rows["plan"][rows["batch"] == 1]]
    )
    frame = frame.rename(columns={"time": "value"})[["network", "method", "plan", "macs", "value", "predicted time"]]
    study = request.sources.study("latency", "planning")
    earlier = [name for name in frame["network"].unique() if is_earlier(name, study)]
    frame["network"] = frame["network"].replace({name: f"{name}, earlier weights" for name in earlier})
    figure = comparison(frame, "macs", panel="network", labels=(None, "time that remains"), diagonal=True,
                        style=request.style("page"))  # fmt: skip
    caption = (
        "Theory against practice: the time that remains over the MACs that remain, measured with one picture a call, "
        "of plans made by MACs and by milliseconds. On the dashed line all saved MACs come back as time."
    )
    caption += f" {EARLIER}" if earlier else ""
    return Item(figure, frame, sentence(caption), stored(request.sources, "latency", "planning"), "latency", "page")

"""What the plan editor's browser side computes from its payload, in plain Python."""

from __future__ import annotations

import math

import numpy as np


def costs_of(desk: dict, kept: list[int], chosen: dict | None = None) -> dict:
    """Return what the browser shows: the sums of products that the payload is made of."""
    z = [*desk["cells"], 1]
    for g, (group, count) in enumerate(zip(desk["groups"], kept, strict=True)):
        row = (chosen or {}).get(str(g), {}).get(str(count))
        if row is None and group["cells"] == 1:
            row = [count]
        elif row is None and group["table"] is not None:
            row = group["table"][count // group["step"] - 1]
        if row is not None:
            z[group["first"] : group["first"] + group["cells"]] = row
    macs, sizes = desk["macs"], desk["sizes"]
    each = [m * z[i] * z[j] for m, i, j in zip(macs["macs"], macs["i"], macs["j"], strict=True)]
    found = {"macs": round(sum(each)), "groups": [0.0] * len(kept)}
    for g, value in zip(macs["group"], each, strict=True):
        if g >= 0:
            found["groups"][g] += value
    for kind in ("params", "bytes"):
        found[kind] = round(sum(s * z[i] * z[j] for s, i, j in zip(sizes[kind], sizes["i"], sizes["j"], strict=True)))
    return found


def predicted_of(desk: dict, name: str, kept: list[int]) -> tuple[float, float, list[str]]:
    """Return what the browser predicts: value, half the interval, groups of which too little is known."""
    (metric,) = (each for each in desk["metrics"] if each["name"] == name)
    drop, spread, unknown = 0.0, 0.0, []
    for group, curve, count in zip(desk["groups"], metric["curves"], kept, strict=True):
        if count == group["channels"]:
            continue
        if curve is None or count < curve["kept"][-1]:
            unknown.append(group["name"])
        if curve is not None:
            counts = curve["kept"][::-1]
            ends = zip(curve["value"], curve["low"], curve["high"], strict=True)
            half = [max(high - value, value - low) for value, low, high in ends][::-1]
            drop += float(np.interp(count, counts, curve["drop"][::-1]))
            spread += float(np.interp(count, counts, half)) ** 2
    value = metric["value"] + (-drop if metric["higher_is_better"] else drop)
    return (min(1.0, max(0.0, value)) if metric["share"] else value), math.sqrt(spread), unknown

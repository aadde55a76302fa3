"""What is known of a plan, as a table, as JSON and as a page to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fpgmlab.allocation.forecast import forecast
from fpgmlab.common.numbers import counted
from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves
from fpgmlab.widgets.desk.job import Made
from fpgmlab.widgets.desk.payload import plain_row

if TYPE_CHECKING:
    import pandas as pd

Measured = Mapping[str, Mapping[str, Any]]  # by kind of network: metrics, "samples", and perhaps "intervals"
STAGES = ("pruned", "repaired", "fine-tuned")  # what can be measured of a plan, as it goes through them
COLUMNS = ["network", "macs", "params", "bytes", "latency", "metric", "value", "low", "high", "samples"]


def report_frame(
    graph: ChannelGraph, curves: Curves, table: LatencyTable | None, plan: Plan, measured: Measured
) -> pd.DataFrame:
    """Return what a plan costs and degrades, predicted and measured.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
    table : LatencyTable, optional
    plan : Plan
    measured : mapping
        Of the networks "pruned", "repaired" and "fine-tuned", as far as they were evaluated: `fpgmlab.evaluate`'s dict,
        or one with ``"intervals"`` as well, the ends by metric.

    Returns
    -------
    pandas.DataFrame
        A row for each network ("original", "predicted", "pruned", "repaired", "fine-tuned") and metric. ``macs``,
        ``params``, ``bytes``; ``latency`` in ms, NaN without a table; ``metric``; ``value``; ``low`` and ``high``, the
        ends of a 95 % interval, NaN where there is none; ``samples``. ``attrs["repaired"]`` tells whether
        the prediction is of a repaired network.
    """
    import pandas as pd

    def costs(of: Plan | None) -> tuple[float, ...]:
        cost = graph.cost(of)
        return cost.macs, cost.params, cost.bytes, math.nan if table is None else table.latency(graph, of)

    before, after, rows = costs(None), costs(plan), []
    for metric, value in curves.base.items():
        rows.append(("original", *before, metric, value, math.nan, math.nan, curves.whole[metric].samples))
    for metric in curves.base:
        value, low, high = _expected(graph, curves, plan, metric)
        rows.append(("predicted", *after, metric, value, low, high, curves.whole[metric].samples))
    if not curves.base:
        rows = [(name, *cost, None, *[math.nan] * 3, 0) for name, cost in (("original", before), ("predicted", after))]
    rows += [(network, *after, *found) for network, *found in measured_rows(measured)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs["repaired"] = curves.repaired
    return frame


def measured_rows(measured: Measured) -> list[tuple[str, str, float, float, float, int]]:
    """Return what was measured as rows: network, metric, value, low, high (NaN where unknown), samples."""
    rows = []
    for network in (stage for stage in STAGES if stage in measured):
        found = measured[network]
        intervals = found.get("intervals", {})
        for metric in (name for name in found if name not in ("samples", "intervals")):
            low, high = (math.nan if end is None else end for end in intervals.get(metric, (None, None)))
            rows.append((network, metric, found[metric], low, high, int(found["samples"])))
    return rows


def report_json(graph: ChannelGraph, made: Made, frame: pd.DataFrame, parity: Mapping) -> dict:
    """Return a report as plain data that strict JSON can hold.

    Parameters
    ----------
    graph : ChannelGraph
    made : Made
        The exported network.
    frame : pandas.DataFrame
        See `report_frame`.
    parity : mapping
        How well the exported file agrees.
    """
    groups = made.plan.frame(graph)
    return {
        "network": type(graph.model).__name__,
        "recovery": made.words,
        "repaired": made.repaired,
        "fine_tuned_epochs": made.epochs,
        "predicted_repaired": bool(frame.attrs["repaired"]),
        "results": [plain_row(row) for row in frame.to_dict("records")],
        "groups": [plain_row(row) for row in groups.to_dict("records")],
        "parity": dict(parity),
    }


def report_page(report: Mapping) -> str:
    """Return a report (see `report_json`) as a page in Markdown."""
    results, groups, parity = report["results"], report["groups"], report["parity"]
    before = next(row for row in results if row["network"] == "original")
    after = next(row for row in results if row["network"] == "predicted")
    costs = [
        (name, f"{before[key]:,.{digits}f}", f"{after[key]:,.{digits}f}", f"{100 * after[key] / before[key]:.1f} %")
        for name, key, digits in (
            ("MACs", "macs", 0), ("parameters", "params", 0), ("bytes", "bytes", 0), ("latency, ms", "latency", 3),
        )
        if before[key] is not None
    ]  # fmt: skip
    values = [
        (
            row["network"],
            row["metric"],
            f"{row['value']:.5g}",
            "" if row["network"] == "original" else _interval(row["low"], row["high"]),
            f"{row['samples']:,}",
        )
        for row in results
        if row["value"] is not None
    ]
    bars = [
        (f"`{row['group']}`", str(row["channels"]), str(row["kept"]), f"{100 * row['ratio']:.1f} %",
         f"{100 * row['macs_share']:.1f} %", row["protected"])
        for row in groups
    ]  # fmt: skip
    shapes = [f"`{name}` ({', '.join(map(str, sizes))})" for name, sizes in parity["outputs"].items()]
    outputs = f"{counted(len(shapes), 'output')}, {', '.join(shapes)}"
    recovered = "once repaired" if report["predicted_repaired"] else "before any recovery"
    parts = [
        f"# {report['network']}, pruned\n\nThe exported network is {report['recovery']}.",
        "## Costs\n\n" + _table(("", "original", "pruned", "remain"), costs),
        f"## Results\n\nPredicted is the sum of what each group's removal alone does, {recovered}.\n\n"
        + _table(("network", "metric", "value", "95 % interval", "samples"), values),
        "## Channel groups\n\n"
        + _table(("group", "channels", "kept", "removed", "share of all MACs", "protected"), bars),
        f"## ONNX\n\nThe file gives {outputs}. Opset {parity['opset']}. On {parity['examples']} examples ONNX Runtime "
        f"and torch differ by at most {parity['max_abs_error']:.2e} ({parity['max_rel_error']:.2e} of the largest "
        "output).",
    ]
    return "\n\n".join(parts) + "\n"


def _expected(graph: ChannelGraph, curves: Curves, plan: Plan, metric: str) -> tuple[float, float, float]:
    found = forecast(graph, curves, plan, metric)
    low, high = found.value - found.half, found.value + found.half
    if found.unknown or not math.isfinite(found.half):  # a part of the drop is missing: no interval holds
        return found.value, math.nan, math.nan
    return (found.value, max(0.0, low), min(1.0, high)) if curves.is_share(metric) else (found.value, low, high)


def _interval(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:.5g} to {high:.5g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

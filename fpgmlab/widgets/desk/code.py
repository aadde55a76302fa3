"""The plan on the desk as code: cells that make it again in a fresh kernel."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from fpgmlab.common.digests import digest
from fpgmlab.common.numbers import counted
from fpgmlab.criteria.scoring import NAMED, score
from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.models.zoo import available, load
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import provenance
from fpgmlab.plans.rounding import Multiple, Scores, kept_channels, lowest
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.desk.report import Measured

_WIDE = 110  # characters of a line
# Tasks that ship, by class and name: the function that gives it, pictures to train and to validate.
_SHIPPED = {
    ("Classification", "fashion-mnist"): ("fashion_mnist", (60_000, 10_000)),
    ("Detection", "trees"): ("trees", (37, 10)),
}
_EVEN = sorted({*range(1, 100)}, key=lambda percent: (percent % 10 != 0, percent % 5 != 0, percent))


def criterion_of(graph: ChannelGraph, scores: Scores) -> tuple[str, Scores] | None:
    """Return the name of the criterion that gives scores of this network, and what it gives here, or None."""
    for name in NAMED:
        try:
            found = score(graph, name)
        except (ValueError, RuntimeError):  # it does not apply to this network
            continue
        if all(group in found and _alike(found[group], scores[group]) for group in scores):
            return name, found
    return None


def plan_code(graph: ChannelGraph, criterion: tuple[str, Scores] | None, plan: Plan, multiple: Multiple = 1) -> str:
    """Return lines that make ``scores``, where they are needed, and exactly this plan, in the shortest form.

    Parameters
    ----------
    graph : ChannelGraph
    criterion : (str, mapping of str to Tensor) or None
        See `criterion_of`.
    plan : Plan
        Of all groups.
    multiple : int or "runtime"
        With which it was perhaps made.
    """
    gone = {name: channels for name, channels in plan.removed.items() if channels}
    widths = "{name: group.channels for name, group in graph.items()}"
    if not gone:
        return f"plan = fl.Plan({widths}, {{}})  # removes nothing"
    if criterion is None:
        why = "# Channel by channel: no criterion that fpgmlab names gives this desk's scores."
        return f"{why}\nplan = fl.Plan({widths}, {_mapping(gone.items())})"
    name, scores = criterion
    lines = [f'scores = fl.score(graph, "{name}")']
    odd = {
        group: channels for group, channels in gone.items() if lowest(graph[group], scores, len(channels)) != channels
    }
    even = _even(graph, plan, multiple) if not odd else None
    if even is not None:
        ratio, unit = even
        lines.append(f"plan = fl.Plan.uniform(graph, scores, {ratio:g}, multiple={unit})")
        return "\n".join(lines)
    ratios = {name: _ratio(graph[name], plan.kept[name]) for name in gone}
    lines.append(f"plan = fl.Plan.from_ratios(graph, scores, {_mapping(ratios.items())})")
    if odd:
        lines.append("# Chosen by hand, or by another rule:")
        lines.append(f"plan = fl.Plan(plan.widths, plan.removed | {_mapping(odd.items())})")
    return "\n".join(lines)


def desk_code(
    graph: ChannelGraph, criterion: tuple[str, Scores] | None, task: Task | None, table: LatencyTable | None,
    plan: Plan, measured: Measured, metric: str | None, multiple: Multiple = 1, repair_samples: int | None = None,
) -> str:  # fmt: skip
    """Return cells that make a plan again in a fresh kernel, with what was measured as comments.

    Parameters
    ----------
    graph, criterion, plan, multiple
        As in `plan_code`.
    task : task or None
    table : LatencyTable or None
    measured : mapping
        Of the networks "pruned", "repaired" and "fine-tuned", as far as known.
    metric : str or None
        The one shown.
    repair_samples : int, optional
        Pictures that the desk repairs with, where it was told.
    """
    pictures = _task(task)
    example = "task.example_input" if task is not None else "example_input"
    inputs = [pictures] if task is not None else ["# example_input: a batch of inputs as the network takes them"]
    values = {network: _values(found, metric) for network, found in measured.items()}
    then = [_noted("small = fl.prune(graph, plan)", values.get("pruned"))]
    if task is not None:
        asked = "" if repair_samples is None else f", samples={repair_samples}"
        then.append(_noted(f"small = fl.repair(graph, plan, task{asked})", values.get("repaired")))
        if "fine-tuned" in values:
            then.append(_noted("fl.fit(small, task)", values["fine-tuned"]))
        then.append("print(fl.evaluate(small, task))")
    cells = [
        "import fpgmlab as fl",
        "\n".join([*inputs, _model(graph), f"graph = fl.trace(model, {example})"]),
        f"# {_costs(graph, table, plan)}\n{plan_code(graph, criterion, plan, multiple)}",
        "\n".join(then),
    ]
    return "\n\n".join(cells) + "\n"


def _alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether scores are the same but for the last digits, in which processors differ."""
    return one.shape == other.shape and torch.allclose(one, other.to(one), rtol=1e-4, atol=0)


def _task(task: Task | None) -> str:
    name, train, val = getattr(task, "name", ""), *(len(getattr(task, part, ())) for part in ("train", "val"))
    kind = type(task).__name__
    call, whole = _SHIPPED.get((kind, name), ("", (0, 0)))
    if call:
        subset = "" if (train, val) == whole else f"  # the desk had {train:,} and {val:,} of its pictures"
        return f"task = fl.tasks.{call}(){subset}"
    return (
        f"# task: as the desk had it, {kind} {name!r} with {counted(train, 'picture')} to train and {val:,} to validate"
    )


def _model(graph: ChannelGraph) -> str:
    kind, architecture = type(graph.model).__name__, provenance(graph.model).architecture
    if architecture is not None and not provenance(graph.model).plans:
        tensors = digest(graph.model.state_dict())
        for name in available():
            if name.startswith(architecture) and digest(load(name).state_dict()) == tensors:
                return f'model = fl.models.load("{name}")'
    return f"# model: as the desk had it, a {kind} with {graph.cost().params:,} parameters"


def _costs(graph: ChannelGraph, table: LatencyTable | None, plan: Plan) -> str:
    cost, whole = graph.cost(plan), graph.cost()
    words = f"{cost.macs / whole.macs:.1%} of the MACs, {cost.params / whole.params:.1%} of the parameters"
    if table is None:
        return words
    return f"{words}, {table.latency(graph, plan):.3g} of {table.latency(graph):.3g} ms by the table ({table.runtime})"


def _values(found: Mapping[str, Any], metric: str | None) -> str | None:
    if metric not in found:
        metric = next((name for name in found if name not in ("samples", "intervals", "loss")), None)
    if metric is None:
        return None
    low, high = (found.get("intervals") or {}).get(metric) or (None, None)
    interval = "" if low is None or high is None else f" ({low:.4g} to {high:.4g})"
    return f"{metric} {found[metric]:.4g}{interval} on {counted(int(found['samples']), 'sample')}"


def _noted(line: str, words: str | None) -> str:
    return line if words is None else f"{line}  # {words}"


def _even(graph: ChannelGraph, plan: Plan, multiple: Multiple) -> tuple[float, int] | None:
    """Return the ratio and the multiple of a plan that is uniform with one that means the same everywhere."""
    groups, kept = [group for group in graph.values() if group.protected is None], plan.kept
    for unit in dict.fromkeys([*([multiple] if isinstance(multiple, int) else []), 1]):
        for percent in _EVEN:
            if all(kept_channels(group, percent / 100, unit) == kept[group.name] for group in groups):
                return percent / 100, unit
    return None


def _ratio(group: ChannelGroup, kept: int) -> float:
    """Return the ratio with the fewest digits that leaves a group so many channels."""
    exact = 1 - kept / group.channels
    tried = (round(exact, digits) for digits in range(1, 8))
    return next((ratio for ratio in tried if 0 < ratio < 1 and kept_channels(group, ratio) == kept), exact)


def _mapping(items: Iterable[tuple[str, object]]) -> str:
    """Return a dict over as many lines as it takes."""
    entries = [f'"{name}":\0{value},' for name, value in items]  # no line ends between a name and its value
    text = " ".join(entries)
    if len(text) < 60:
        return "{" + text.rstrip(",").replace("\0", " ") + "}"
    text = textwrap.fill(text, _WIDE, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return "{\n" + text.replace("\0", " ") + "\n}"

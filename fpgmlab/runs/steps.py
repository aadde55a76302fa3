"""The steps of a run: each reads what the steps before it have left in the folder, and leaves its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fpgmlab.allocation import prune_gradually
from fpgmlab.common.numbers import counted
from fpgmlab.deployment import LatencyTable, benchmark
from fpgmlab.models.boxes import Decoded
from fpgmlab.models.saving import save
from fpgmlab.plans import Plan
from fpgmlab.recovery import fit, repair, repair_report
from fpgmlab.runs.bench import NETWORKS, Bench, Outcome
from fpgmlab.runs.making import make_between, make_criterion, make_extra
from fpgmlab.runs.sections import BY_CURVES, FORMATS, HOW
from fpgmlab.sensitivity import Curves, sweep
from fpgmlab.surgery import prune, trace
from fpgmlab.tasks import evaluate

if TYPE_CHECKING:
    import pandas as pd


def sweep_groups(bench: Bench) -> Outcome:
    """Measure how each group bears pruning, or take the curves that a file has."""
    options = dict(bench.sections["sweep"])
    if (file := options.pop("file", None)) is not None:
        curves = Curves.load(file)
    else:
        progress = bench.folder.progress("sweep")
        curves = sweep(bench.graph, bench.scores, bench.task, **options, path=progress, progress=bench.progress)
        if not curves.complete:
            raise KeyboardInterrupt
    curves.save(bench.folder / "curves.parquet")
    table = bench.written("curves.csv", curves.frame)
    return Outcome(("curves.parquet", table), {"curves": repr(curves), "base": curves.base})


def choose_plan(bench: Bench) -> Outcome:
    """Choose which channels go."""
    options = dict(bench.sections["plan"])
    how = options.pop("how")
    function: Callable[..., Plan] = HOW[how]  # type: ignore[assignment]
    if how == "file":
        made = function(options["file"])
    elif how == "zeros":
        made = function(bench.graph)
    elif how in BY_CURVES:
        if "table" in options:
            options["table"] = LatencyTable.from_json(options["table"])
        curves = Curves.load(bench.folder / "curves.parquet")
        made = function(bench.graph, curves, **options)
    else:
        made = function(bench.graph, bench.scores, **options)
    bench.graph.check(made)
    cost, whole = bench.graph.cost(made), bench.graph.cost()
    made.to_json(bench.folder / "plan.json")
    shares = {name: getattr(cost, name) / getattr(whole, name) for name in ("macs", "params", "bytes")}
    bench.note("plan: " + ", ".join(f"{share:.1%} of the {name}" for name, share in shares.items()) + " remain")
    return Outcome(("plan.json", bench.written("plan.csv", made.frame(bench.graph))), {"remain": shares})


def prune_network(bench: Bench) -> Outcome:
    """Prune the network by the plan."""
    small = prune(bench.graph, Plan.from_json(bench.folder / "plan.json"))
    save(small, bench.folder / NETWORKS["prune"])
    return Outcome((NETWORKS["prune"],))


def repair_network(bench: Bench) -> Outcome:
    """Prune it and refit its weights by least squares."""
    made = Plan.from_json(bench.folder / "plan.json")
    kept = bench.folder.progress("repair")
    small = repair(bench.graph, made, bench.task, **bench.sections["repair"], path=kept, progress=bench.progress)
    report = repair_report(small)
    if report.attrs["interrupted"]:
        raise KeyboardInterrupt
    save(small, bench.folder / NETWORKS["repair"])
    return Outcome((NETWORKS["repair"], bench.written("repair.csv", report)))


def prune_step_by_step(bench: Bench) -> Outcome:
    """Prune it gradually, repaired or trained in between."""
    options, seed = dict(bench.sections["gradual"]), bench.sections["run"]["seed"]
    options["criterion"] = make_criterion(options["criterion"], bench.task, seed)
    options["between"] = [make_between(each, bench.model, seed) for each in options["between"]]
    metric = bench.task.metric_name

    def tell(history: pd.DataFrame) -> None:
        row = history.iloc[-1]
        bench.note(f"gradual: step {row['step']}, {row['macs']:.1%} of the macs, {metric} {row[metric]:.4f}")

    small, history = prune_gradually(
        bench.model, bench.task, **options, example_input=bench.example_input, path=bench.folder.progress("gradual"),
        on_step=tell, progress=bench.progress,
    )  # fmt: skip
    if history.attrs["interrupted"]:
        raise KeyboardInterrupt
    save(small, bench.folder / NETWORKS["gradual"])
    return Outcome((NETWORKS["gradual"], bench.written("gradual.csv", history)))


def trained(bench: Bench, before: str | None) -> tuple[nn.Module, pd.DataFrame]:
    """Train what the steps before have left; every process of several does, and nothing is written but checkpoints."""
    options = dict(bench.sections["fit"])
    network, epochs = bench.network(before), options["epochs"]
    graph = cache(lambda: trace(network, bench.example_input, **bench.sections["trace"]))
    options["extras"] = [make_extra(each, bench.model, graph) for each in options["extras"]]
    metric = bench.task.metric_name

    def tell(row: Mapping[str, float]) -> None:
        bench.note(f"fit: epoch {row['epoch']:g}/{epochs}, loss {row['train_loss']:.4f}, {metric} {row[metric]:.4f}")

    kept = bench.folder.progress("fit") / "checkpoint.pt"
    history = fit(network, bench.task, **options, checkpoint=kept, progress=bench.progress, on_epoch=tell)
    if history.attrs["interrupted"]:
        raise KeyboardInterrupt
    if not history.attrs["kept"]:
        bench.note(f"fit: no epoch was as good as what it began with, {metric} {history.attrs['began'][metric]:.4f}")
    return network, history


def fit_network(bench: Bench, before: str | None) -> Outcome:
    """Train what the steps before have left, and write it."""
    network, history = trained(bench, before)
    save(network, bench.folder / NETWORKS["fit"])
    files = (NETWORKS["fit"], bench.written("history.csv", history))
    return Outcome(files, {name: history.attrs[name] for name in ("kept", "resumed")} | {"epochs": len(history)})


def judge_networks(bench: Bench, steps: Mapping[str, str | None]) -> Outcome:
    """Measure networks once each: on the test data where the task has some, else on the validation data."""
    from pandas import DataFrame

    there = "val" if getattr(bench.task, "test", None) is None else "test"
    options = {"split": there, **bench.sections["evaluate"]}
    rows, metric = [], bench.task.metric_name
    for name, step in steps.items():
        network = bench.network(step)
        cost = (bench.graph if step is None else trace(network, bench.example_input)).cost()
        found = evaluate(network, bench.task, **options)
        rows.append({"network": name, **asdict(cost), "split": options["split"], **found})
        on = counted(int(found["samples"]), f"{options['split']} example")
        bench.note(f"{name}: {metric} {found[metric]:.4f} on {on}, {cost.macs / 1e6:.2f} M MACs")
    return Outcome((bench.written("networks.csv", DataFrame(rows)),), {"networks": rows})


def export_network(bench: Bench, last: str | None) -> Outcome:
    """Write the last network as another runtime reads it."""
    options = dict(bench.sections["export"])
    function, name = FORMATS[options.pop("format")]
    network = bench.network(last)
    if options.pop("decoded"):
        network = Decoded(network)
    target = bench.folder / name
    report: Any = function(network, bench.example_input, target, **options)
    files = [path.name for path in sorted(target.parent.glob("network.*"))]
    bench.note(f"export: {name}, {target.stat().st_size:,} bytes")
    return Outcome(tuple(files), asdict(report) | {"path": name})


def benchmark_networks(bench: Bench, last: str | None) -> Outcome:
    """Run the first and the last network in runtimes."""
    networks = {"unpruned": bench.model, **({last: bench.network(last)} if last is not None else {})}
    on_cpu = {name: network.cpu() for name, network in networks.items()}
    example = bench.example_input.cpu() if isinstance(bench.example_input, torch.Tensor) else bench.example_input
    table = benchmark(on_cpu, example, **bench.sections["benchmark"])
    for row in table.itertuples():
        bench.note(f"benchmark: {row.name} in {row.runtime}: {row.median_ms:.3f} ms, {row.relative:.2f} of the first")
    return Outcome((bench.written("benchmark.csv", table),), {"rows": table.to_dict("records")})

#!/usr/bin/env python
"""INT8 of whole and of pruned networks: accuracy, bytes and time; repaired before or after the weights are rounded.

python tests/benchmarks/quantization.py                  # an hour on one core; writes data/results/quantization.json
python tests/benchmarks/quantization.py --network trees  # one of resnet20, vgg16, trees
python tests/benchmarks/quantization.py --by ms          # plans whose INT8 takes a third of the float network's time
python tests/benchmarks/quantization.py --repaired-only  # without training on, which takes most of the time
python tests/benchmarks/quantization.py --part times     # times only, of files that are there already

All ranges come from training pictures without labels. The figures are of all 10,000 test pictures, or of the 10
validation tiles. Times are medians of one run in which all files take turns, one thread, batch 32 (tiles: 1), in ONNX
Runtime and OpenVINO. "other order": the whole network's weights are rounded to INT8 first, and what is left of them
after pruning is repaired towards that network, and rounded again; or, without a repair after, stays as it is.
"""

from __future__ import annotations

import argparse
import copy
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import fpgmlab as fl

ROOT = Path(__file__).resolve().parent.parent.parent
TITLE = "INT8 of whole and of pruned networks: accuracy, bytes and time"
COMMAND = "python tests/benchmarks/quantization.py"
OUTPUT, RESULT = ROOT / "outputs" / "quantization", ROOT / "data" / "results" / "quantization.json"
NETWORKS = {"resnet20": "resnet20-fashion", "vgg16": "vgg16-fashion", "trees": "yolov5n-trees"}
KEPT, MULTIPLE = 0.5, 4  # INT8 has steps of 4 channels, float32 of 16
TIMES = 3.1  # faster than the unpruned network in float32: what plans by milliseconds are made for
WAYS = (("int8", ".int8.onnx", "onnxruntime"), ("int8 of NNCF", ".int8.xml", "nncf"))
RUNS = {"int8": "onnxruntime", "int8 of NNCF": "openvino"}


def task_of(network: str) -> fl.tasks.Classification | fl.tasks.Detection:
    return fl.tasks.trees() if network == "trees" else fl.tasks.fashion_mnist()


def batch_of(network: str) -> int:
    return 1 if network == "trees" else 32


def scale_of(weight: Tensor) -> Tensor:
    """Return the step of each output channel's weights in INT8, signed and symmetric."""
    return weight.flatten(1).abs().amax(1).clamp(min=1e-12) / 127


@torch.no_grad()
def rounded(model: nn.Module) -> nn.Module:
    """Return a copy whose weights lie on the grid that INT8 has for each channel, batch norms folded into them."""
    model = copy.deepcopy(model).eval()
    for module, norm in pairs(model):
        factor = torch.ones(len(module.weight)) if norm is None else norm.weight / (norm.running_var + norm.eps).sqrt()
        shape = (-1, *[1] * (module.weight.ndim - 1))
        whole = module.weight * factor.view(shape)
        step = scale_of(whole).view(shape)
        module.weight.copy_((whole / step).round() * step / factor.view(shape))
    return model


def pairs(model: nn.Module) -> list[tuple[nn.Module, nn.Module | None]]:
    """Return each layer with weights, with the batch norm that stands behind it in its module, if any does."""
    found: list[tuple[nn.Module, nn.Module | None]] = []
    for module in model.modules():
        children = list(module.children())
        for child, after in zip(children, [*children[1:], None], strict=False):
            if isinstance(child, (nn.Conv2d, nn.Linear)):
                fits = isinstance(after, nn.BatchNorm2d) and after.num_features == len(child.weight)
                found.append((child, after if fits else None))
    return found


def plan_of(network: str, graph: fl.ChannelGraph, task: object, by: str) -> fl.Plan:
    """Return a plan to half of the MACs, in INT8's multiples, or one whose INT8 is so many times faster than float."""
    if by == "ms":
        tables = {
            dtype: fl.latency_table(graph, dtype=dtype, batch=batch_of(network), threads=1, progress=False)
            for dtype in ("float32", "int8")
        }
        table = tables["int8"]
        budget = tables["float32"].latency(graph) / TIMES / table.latency(graph)
    if network == "trees":
        scores = fl.score(graph, fl.criteria.Reconstruction(task, samples=len(task_of(network).train)))
        macs = KEPT
        plan = fl.Plan.uniform(graph, scores, macs=macs, multiple=MULTIPLE)
        while by == "ms" and table.latency(graph, plan) > budget * table.latency(graph):
            macs -= 0.01
            plan = fl.Plan.uniform(graph, scores, macs=macs, multiple=MULTIPLE)
        return plan
    curves = fl.sensitivity.shipped(NETWORKS[network], repaired=True)
    if by == "ms":
        print(network, f"planned to {budget:.0%} of the milliseconds in INT8", flush=True)
        return fl.allocate(graph, curves, latency=min(1.0, budget), table=table)
    return fl.allocate(graph, curves, macs=KEPT, multiple=MULTIPLE)


def recovered(network: str, model: nn.Module, teacher: nn.Module, task: object) -> nn.Module:
    """Return a repaired network trained on: two passes over a third of the pictures, or 40 over the tiles."""
    model = copy.deepcopy(model)
    if network == "trees":
        compare = task_of(network).head.imitation  # type: ignore[union-attr]
        fl.fit(model, task, 40, lr=0.004, extras=[fl.Distill(teacher, compare=compare)], keep="last", progress=False)
    else:
        some = task_of(network).subset(train=20_000, val=100)
        fl.fit(model, some, 2, lr=0.02, extras=[fl.Distill(teacher)], keep="last", progress=False)
    return model.eval()


def judged(network: str, by: str, recover: bool) -> dict:
    """Write all files of a network, and return their figures."""
    task, name = task_of(network), NETWORKS[network]
    graph = fl.trace(fl.models.load(name), task.example_input)
    plan = plan_of(network, graph, task, by)
    samples = 37 if network == "trees" else 512
    repaired = fl.repair(graph, plan, task, samples=samples, progress=False)
    on_grid = fl.trace(rounded(graph.model), task.example_input)
    models = {
        "unpruned": graph.model,
        "repaired": repaired,
        **({"recovered": recovered(network, repaired, graph.model, task)} if recover else {}),
        "other order, repaired": fl.repair(on_grid, plan, task, samples=samples, progress=False),
        "other order, not repaired": fl.prune(on_grid, plan),
    }
    rows: dict = {
        "kept": dict(plan.kept),
        "macs": round(graph.cost(plan).macs / graph.cost().macs, 3),
        "params": round(graph.cost(plan).params / graph.cost().params, 3),
    }
    for what, model in models.items():
        path = path_of(network, by, what)
        exported = fl.export_onnx(model, task.example_input, path, opset=17)
        rows[what] = {"float32": {"bytes": exported.bytes}}
        for dtype, ending, method in WAYS:
            report = fl.quantize(
                path, task, path.with_suffix(ending), method=method, samples=min(256, samples),
                batch=batch_of(network), progress=False,
            )  # fmt: skip
            rows[what]["float32"][task.metric_name] = round(report.before, 4)
            rows[what][dtype] = {
                task.metric_name: round(report.after, 4), "bytes": report.bytes,
                "bytes_of_float32": round(report.bytes_ratio, 3), "agreement": round(report.agreement, 4),
                "error": round(report.error, 4), "in_float": [list(row) for row in report.layers if row[2] != "int8"],
            }  # fmt: skip
        print(network, what, json.dumps(rows[what]), flush=True)
    return rows


def path_of(network: str, by: str, what: str) -> Path:
    return OUTPUT / f"{network}-{by}-{what.replace(', ', '-').replace(' ', '_')}.onnx"


def timed(network: str, by: str, rows: dict) -> dict:
    """Add the times of a network's files, in turns, and how much faster, smaller and worse each is."""
    task, batch = task_of(network), batch_of(network)
    networks = [what for what in rows if isinstance(rows[what], dict) and "float32" in rows[what]]
    paths = {
        f"{what}/{dtype}": path_of(network, by, what).with_suffix(ending)
        for what in networks
        for dtype, ending, _ in (("float32", ".onnx", ""), *WAYS)
    }
    runtimes = ("onnxruntime", "openvino")
    frame = fl.benchmark(
        paths, task.example_input, runtimes=runtimes, batch=batch, threads=1, rounds=60, memory=False
    ).set_index(["name", "runtime"])
    for (label, runtime), ms in frame["median_ms"].items():
        what, dtype = label.split("/")
        if dtype == "float32" or RUNS[dtype] == runtime:
            rows[what][dtype][f"ms in {runtime}"] = round(ms, 4)
    name = task.metric_name
    for dtype, runtime in RUNS.items():
        first = rows["unpruned"]["float32"]
        rows[f"{dtype} against the unpruned network in float32, {runtime}"] = {
            what: {
                "times_faster": round(first[f"ms in {runtime}"] / rows[what][dtype][f"ms in {runtime}"], 2),
                "bytes": round(rows[what][dtype]["bytes"] / first["bytes"], 3),
                "lost": round(first[name] - rows[what][dtype][name], 4),
            }
            for what in ("unpruned", "repaired", "recovered")
            if what in rows
        }
    print(network, json.dumps({key: rows[key] for key in rows if "against" in key}, indent=1), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["all", *NETWORKS], default="all")
    parser.add_argument("--by", choices=["macs", "ms"], default="macs")
    parser.add_argument("--part", choices=["all", "times"], default="all")
    parser.add_argument("--repaired-only", action="store_true", help="without training on")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    import onnxruntime

    here = fl.studies.machine(f"onnxruntime {onnxruntime.__version__}", threads=1)
    head = fl.studies.record("quantization", title=TITLE, command=COMMAND, machine=here)
    result = (json.loads(RESULT.read_text()) if RESULT.exists() else {}) | head
    for network in NETWORKS:
        if options.network not in ("all", network):
            continue
        by_macs, by_ms = f"half of the MACs, multiples of {MULTIPLE}", f"INT8 {TIMES} times faster, by milliseconds"
        key = f"{network}, {by_ms if options.by == 'ms' else by_macs}"
        try:
            rows = result[key] if options.part == "times" else judged(network, options.by, not options.repaired_only)
        except ValueError as error:  # some networks do not get so fast in INT8, whatever is removed
            result[key] = {"not reached": str(error)}
            RESULT.write_text(json.dumps(result, indent=2) + "\n")
            print(network, error, flush=True)
            continue
        own: dict = fl.studies.part(f"{COMMAND} --network {network} --by {options.by}", machine=here)
        own["batch"] = batch_of(network)
        known = {*own, "note"}  # what was said of other times does not hold of these
        result[key] = own | {name: row for name, row in timed(network, options.by, rows).items() if name not in known}
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

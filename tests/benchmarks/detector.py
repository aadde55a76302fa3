#!/usr/bin/env python
"""What pruning a detector costs: YOLOv5s, adapted to the shipped trees, cut to budgets in four ways, and recovered
with the unpruned one for a teacher.

python tests/benchmarks/detector.py             # hours on two CPU cores; writes data/results/detector.json
python tests/benchmarks/detector.py --seeds 1   # fewer seeds; stopped, it goes on where it was
python tests/benchmarks/detector.py --only 0    # trains one seed and writes nothing: several at once, each with
                                                # OMP_NUM_THREADS=1, are a third faster

The weights that it starts from are under the GPL: what it trains stays in outputs/, and only figures are kept.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import nn
from torch.utils.data import ConcatDataset

import fpgmlab as fl

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT, RESULT = ROOT / "outputs" / "detector", ROOT / "data" / "results" / "detector.json"
MACS, PARAMS = 0.56, 0.53  # what may remain: PaddleSlim's figures for PP-YOLOE, 44 % and 47 % less
PASSES = 10  # of the training pictures in an epoch of `fit`, which evaluates after each
ADAPT, RECOVER = 10, 10  # epochs
METRICS, RATIOS = ("agreement_map50",), (0.1, 0.3, 0.5)  # of the sweep
MOST = 0.5  # that a group may lose where it is allocated
RECIPE = {"lr": 0.08, "average": 0.99, "batch_size": 8, "amp": "bfloat16", "keep": "last", "progress": False}
SIZE = 416  # pixels


def trees() -> fl.tasks.Detection:
    """Return the task with long epochs; few pictures ask for much augmentation."""
    task = fl.tasks.trees(size=SIZE, augment=fl.tasks.BoxAugment(flip_vertical=0.5, scale=0.5, shift=0.2, colour=0.4))
    return replace(task, train=ConcatDataset([task.train] * PASSES))


def plans(graph: fl.ChannelGraph, task: fl.tasks.Detection, seed: int) -> dict[str, fl.Plan]:
    """Return a plan of each way; the sweep looks at training pictures only, and not at their labels."""
    pictures = fl.tasks.trees(size=SIZE).train
    looked_at = replace(task, train=pictures, val=pictures)
    rules = {"fpgm": "fpgm", "l1": "l1", "random": fl.criteria.Random(seed=seed)}
    scores = {name: fl.score(graph, rule) for name, rule in rules.items()}
    curves = fl.sweep(graph, scores["fpgm"], looked_at, metrics=METRICS, max_samples=16, ratios=RATIOS,
                      dtype="bfloat16", progress=False)  # fmt: skip
    curves.save(OUTPUT / f"seed{seed}" / "curves.parquet")
    ways = {"fpgm, allocated": partial(fl.allocate, graph, curves, metric=METRICS[0], max_ratio=MOST)}
    ways |= {f"{name}, uniform": partial(fl.Plan.uniform, graph, own, multiple=8) for name, own in scores.items()}
    return {name: within_both(graph, make) for name, make in ways.items()}


def within_both(graph: fl.ChannelGraph, make: Callable[..., fl.Plan]) -> fl.Plan:
    """Return the plan with the most MACs that meets both budgets; ``make`` takes one of MACs."""
    for budget in range(round(100 * MACS), 0, -1):
        plan = make(macs=budget / 100)
        if graph.cost(plan).params <= PARAMS * graph.cost().params:
            return plan
    raise ValueError(f"no plan keeps {MACS:.0%} of the MACs and {PARAMS:.0%} of the parameters")


def one_seed(seed: int) -> dict[str, dict]:
    """Return the figures of the adapted network and of each way to prune it."""
    task, folder = trees(), OUTPUT / f"seed{seed}"
    torch.manual_seed(seed)
    model = fl.models.yolov5(weights=fl.assets.fetch("yolov5s-coco"), classes=task.classes)
    found = {"adapted": trained(folder / "adapted", model, task, ADAPT, seed)}
    teacher = fl.Distill(model, weight=1.0, compare=task.head.imitation)
    graph = fl.trace(model, task.example_input)
    whole, chosen = graph.cost(), folder / "plans.json"
    if not chosen.exists():
        chosen.write_text(json.dumps({name: plan.to_json() for name, plan in plans(graph, task, seed).items()}))
    for name, text in json.loads(chosen.read_text()).items():
        plan = fl.Plan.from_json(text)
        small = fl.prune(graph, plan)
        before, cost = fl.evaluate(small, task)["map50"], graph.cost(plan)
        saved = {"macs": cost.macs / whole.macs, "params": cost.params / whole.params, "before": before}
        found[name] = saved | trained(folder / name, small, task, RECOVER, seed, teacher)
        export(small, folder / name, task)
    return found


def control(seed: int) -> dict[str, float]:
    """Return the figures of the adapted network after as much more training as the pruned ones had."""
    task, folder = trees(), OUTPUT / f"seed{seed}"
    model = fl.models.yolov5("s", classes=task.classes)
    model.load_state_dict(torch.load(folder / "adapted.pt"))
    teacher = fl.Distill(copy.deepcopy(model), weight=1.0, compare=task.head.imitation)
    return trained(folder / "again", model, task, RECOVER, seed, teacher)


def trained(
    path: Path, model: nn.Module, task: fl.tasks.Detection, epochs: int, seed: int, *extras: fl.Extra
) -> dict[str, float]:
    """Train a network in place, or read what was trained before; return its validation result."""
    notes, weights = path.with_suffix(".json"), path.with_suffix(".pt")
    if notes.exists():
        model.load_state_dict(torch.load(weights))
    else:
        model.to(memory_format=torch.channels_last)
        history = fl.fit(model, task, epochs, seed=seed, extras=extras, **RECIPE)
        result = {**fl.evaluate(model, task), "seconds": round(float(history["seconds"].sum()))}
        path.parent.mkdir(parents=True, exist_ok=True)
        history.to_csv(path.with_suffix(".csv"), index=False)
        torch.save(model.state_dict(), weights)
        notes.write_text(json.dumps(result))
        print(path, result, flush=True)
    model.eval()
    return json.loads(notes.read_text())


def export(model: nn.Module, path: Path, task: fl.tasks.Detection) -> None:
    """Write an ONNX file once."""
    if not path.with_suffix(".onnx").exists():
        fl.export_onnx(model, task.example_input, path.with_suffix(".onnx"))


def summary(seeds: list[dict[str, dict]]) -> dict[str, dict]:
    """Return for each way the mean over the seeds, and mAP's points below the adapted network of the same seed."""
    table = {}
    for name in seeds[0]:
        rows = [seed[name] for seed in seeds]
        entry = {key: round(mean(row[key] for row in rows), 4) for key in rows[0] if key not in ("samples", "seconds")}
        points = [100 * (row["map50"] - seed["adapted"]["map50"]) for row, seed in zip(rows, seeds, strict=True)]
        entry |= {"map50_by_seed": [round(row["map50"], 4) for row in rows], "points": round(mean(points), 2)}
        if len(points) > 1:
            entry["points_deviation"] = round(stdev(points), 2)
        table[name] = entry
    return table


def latencies(seeds: int, runs: int) -> dict[str, dict[str, float]]:
    """Return medians over interleaved runs in ONNX Runtime, of the networks of each seed."""
    task = trees()
    table: dict[str, dict[str, float]] = {}
    for seed in range(seeds):
        folder = OUTPUT / f"seed{seed}"
        model = fl.models.yolov5("s", classes=task.classes)
        model.load_state_dict(torch.load(folder / "adapted.pt"))
        export(model.eval(), folder / "adapted", task)
        files = {
            name: folder / f"{name}.onnx" for name in ("adapted", *json.loads((folder / "plans.json").read_text()))
        }
        found = fl.latency(files, task.example_input, runs=runs).set_index("name")["median_ms"]
        for name, value in found.items():
            table.setdefault(name, {})[f"seed {seed}"] = round(value, 1)
            table[name][f"faster, seed {seed}"] = round(found["adapted"] / value, 2)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=int, metavar="SEED", help="train this seed and write no result")
    parser.add_argument("--runs", type=int, default=100, help="of each network, for the latency")
    options = parser.parse_args()
    if options.only is not None:
        one_seed(options.only)
        control(options.only)
        return
    seeds = [one_seed(seed) for seed in range(options.seeds)]
    for seed, found in enumerate(seeds):
        found["adapted, as long again"] = control(seed)
    result = {
        **fl.studies.record(
            "detector",
            title="YOLOv5s on trees, cut to budgets in four ways and recovered",
            command=f"python tests/benchmarks/detector.py --seeds {options.seeds} --runs {options.runs}",
        ),
        "what": f"YOLOv5s from COCO on trees, {SIZE} px, 10 validation pictures with 346 boxes",
        "training": {"adapt": ADAPT * PASSES, "recover": RECOVER * PASSES, "augment": repr(trees().augment), **RECIPE},
        "budgets": {"macs": MACS, "params": PARAMS},
        "networks": summary(seeds),
        "latency": latencies(options.seeds, options.runs),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

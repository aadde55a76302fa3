#!/usr/bin/env python
"""What plans from curves are worth: accuracy as cut and repaired against the baselines, and the planner's speed.

python tests/benchmarks/allocation.py                    # prints the numbers and writes data/results/allocation.json
python tests/benchmarks/allocation.py --part forecasts   # only one of planning, plans, forecasts

The curves that plans are made from come from training pictures, the accuracies from the 10,000 validation pictures. The
forecasts are by the curves that ship, on these same pictures: how far predicted and measured are apart, no sampling.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

import fpgmlab as fl
from fpgmlab.allocation.forecast import forecast
from fpgmlab.plans.rounding import Scores
from fpgmlab.sensitivity.curves.intervals import Paired

TITLE = "What plans from curves are worth, as cut and repaired, how well losses are foretold, how long planning takes"
OUTPUT = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "allocation.json"
BUDGETS = (0.7, 0.5, 0.35)
CHECKPOINTS = ("resnet20-fashion", "vgg16-fashion")
METRICS = ("agreement", "accuracy")


def accuracy(graph: fl.ChannelGraph, plan: fl.Plan, task: fl.tasks.Classification) -> float:
    """Return the accuracy of the really pruned network on all validation pictures, in bfloat16."""
    pruned = fl.prune(graph, plan).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        return round(fl.evaluate(pruned, task, batch_size=1000)["accuracy"], 4)


def repaired(graph: fl.ChannelGraph, plan: fl.Plan, task: fl.tasks.Classification) -> float:
    """Return the accuracy of the repaired network (512 training pictures) on all validation pictures, in bfloat16."""
    mended = fl.repair(graph, plan, task, progress=False).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        return round(fl.evaluate(mended, task, batch_size=1000)["accuracy"], 4)


def ways(
    graph: fl.ChannelGraph, curves: fl.Curves, mended: fl.Curves, multiple: int
) -> dict[str, Callable[[float], fl.Plan]]:
    """Return every way to a plan: ours, by curves as cut and repaired, then the baselines."""
    scores, limits = curves.scores, {"multiple": multiple}
    return {
        "allocate": lambda b: fl.allocate(graph, curves, macs=b, **limits),
        "allocate, repaired curves": lambda b: fl.allocate(graph, mended, macs=b, **limits),
        "uniform": lambda b: fl.Plan.uniform(graph, scores, macs=b, **limits),
        "equal loss": lambda b: fl.allocation.equal_loss(graph, curves, macs=b, **limits),
        "global threshold": lambda b: fl.Plan.global_threshold(graph, scores, macs=b, **limits),
    }


def accuracies(name: str, task: fl.tasks.Classification, multiple: int, samples: int) -> dict:
    graph = fl.trace(fl.models.load(name), task.example_input)
    first = Subset(task.train, range(samples))
    training = fl.tasks.Classification(first, first, task.classes)
    options = {"metrics": METRICS, "dtype": "bfloat16", "progress": False}
    curves, mended = (fl.sweep(graph, fl.score(graph), training, repair=repair, **options) for repair in (False, True))
    whole = graph.cost().macs
    table: dict[str, dict] = {}
    for way, make in ways(graph, curves, mended, multiple).items():
        table[way] = {}
        for budget in BUDGETS:
            try:
                plan = make(budget)
            except ValueError as error:  # a baseline that cannot reach the budget
                table[way][str(budget)] = str(error)
                continue
            entry = {"accuracy": accuracy(graph, plan, task), "repaired": repaired(graph, plan, task)}
            entry["macs"] = round(graph.cost(plan).macs / whole, 4)
            by = {"allocate": curves, "allocate, repaired curves": mended}.get(way)
            for metric in METRICS if by is not None else ():
                drop = fl.allocation.predicted(graph, by, plan, metric)["predicted"].sum()
                entry[f"predicted_drop_of_{metric}"] = round(float(drop), 4)
            table[way][str(budget)] = entry
            print(name, multiple, way, budget, entry, flush=True)
    none = fl.Plan.uniform(graph, curves.scores, 0.0, multiple=1)
    return {"unpruned": accuracy(graph, none, task), "plans": table, "beaten": beaten(table)}


def beaten(table: dict) -> dict[str, dict[str, bool]]:
    """Return whether ours is more accurate than each baseline, at each budget."""
    ours = table["allocate"]
    return {
        way: {b: ours[b]["accuracy"] > e["accuracy"] for b, e in entries.items() if isinstance(e, dict)}
        for way, entries in table.items()
        if way not in ("allocate", "allocate, repaired curves")
    }


def random_plan(graph: fl.ChannelGraph, scores: Scores, least: float, drawn: np.random.Generator) -> fl.Plan:
    """Return a plan of random ratios, at most .9, that leaves between ``least`` and .9 of the MACs."""
    free = [name for name, group in graph.items() if group.protected is None]
    shares, target, whole = drawn.uniform(0, 1, len(free)), drawn.uniform(least, 0.9), graph.cost().macs

    def plan(strength: float) -> fl.Plan:
        ratios = {name: float(min(0.9, strength * share)) for name, share in zip(free, shares, strict=True)}
        return fl.Plan.from_ratios(graph, scores, ratios)

    low, high = 0.0, 4.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if graph.cost(plan(middle)).macs >= target * whole else (low, middle)
    return plan(low)


def forecasts(name: str, task: fl.tasks.Classification, count: int, least: float = 0.5) -> dict:
    """Return how far predicted and measured accuracy are apart, over random plans, as cut and repaired."""
    graph, drawn = fl.trace(fl.models.load(name), task.example_input), np.random.default_rng(0)
    scores = fl.sensitivity.shipped(name).scores
    plans = [random_plan(graph, scores, least, drawn) for _ in range(count)]
    rows = []
    for plan in plans:
        found = {"as_cut, measured": accuracy(graph, plan, task), "repaired, measured": repaired(graph, plan, task)}
        rows.append({"macs": round(graph.cost(plan).macs / graph.cost().macs, 4), **found})
        print(name, rows[-1], flush=True)
    curves = {"as_cut": fl.sensitivity.shipped(name), "repaired": fl.sensitivity.shipped(name, repaired=True)}
    for row, plan in zip(rows, plans, strict=True):
        row |= {f"{w}, predicted": round(forecast(graph, by, plan, "accuracy").value, 4) for w, by in curves.items()}
    apart = {way: np.array([row[f"{way}, predicted"] - row[f"{way}, measured"] for row in rows]) for way in curves}
    return {
        "what": f"{count} random plans with {least:g} to .9 of the MACs; predicted minus measured accuracy, in points",
        "mean_absolute_error": {way: round(100 * float(np.abs(each).mean()), 2) for way, each in apart.items()},
        "mean_error": {way: round(100 * float(each.mean()), 2) for way, each in apart.items()},
        "largest_error": {way: round(100 * float(np.abs(each).max()), 2) for way, each in apart.items()},
        "plans": rows,
    }


class Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class Bottleneck(nn.Module):
    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(Conv(channels, channels), Conv(channels, channels, 3)), shortcut

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class C3(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.left = nn.Sequential(Conv(inputs, half), *(Bottleneck(half, shortcut) for _ in range(depth)))
        self.right, self.join = Conv(inputs, half), Conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([self.left(x), self.right(x)], dim=1))


class YoloSized(nn.Module):
    """Backbone and head with the widths and depths of YOLOv5l; plain blocks, three convolutions for outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.p3 = nn.Sequential(
            Conv(3, 64, 3, 2), Conv(64, 128, 3, 2), C3(128, 128, 3), Conv(128, 256, 3, 2), C3(256, 256, 6)
        )
        self.p4 = nn.Sequential(Conv(256, 512, 3, 2), C3(512, 512, 9))
        self.p5 = nn.Sequential(Conv(512, 1024, 3, 2), C3(1024, 1024, 3), Conv(1024, 512))
        self.up4, self.up3 = nn.Sequential(C3(1024, 512, 3, False), Conv(512, 256)), C3(512, 256, 3, False)
        self.down3, self.down4 = Conv(256, 256, 3, 2), Conv(512, 512, 3, 2)
        self.out4, self.out5 = C3(512, 512, 3, False), C3(1024, 1024, 3, False)
        self.heads = nn.ModuleList(nn.Conv2d(channels, 255, 1) for channels in (256, 512, 1024))

    def forward(self, x: Tensor) -> list[Tensor]:
        p3 = self.p3(x)
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        wide = nn.functional.interpolate
        mid = self.up4(torch.cat([wide(p5, scale_factor=2), p4], dim=1))
        out3 = self.up3(torch.cat([wide(mid, scale_factor=2), p3], dim=1))
        out4 = self.out4(torch.cat([self.down3(out3), mid], dim=1))
        out5 = self.out5(torch.cat([self.down4(out4), p5], dim=1))
        return [head(out) for head, out in zip(self.heads, (out3, out4, out5), strict=True)]


def made_up(graph: fl.ChannelGraph, samples: int = 1000) -> fl.Curves:
    """Return curves on nine ratios, rising with some noise."""
    rng, sums = np.random.default_rng(0), {}
    free = {name: group for name, group in graph.items() if group.protected is None}
    for name, group in free.items():
        top, power = rng.uniform(0.02, 0.6), rng.uniform(1, 4)
        for ratio in np.arange(1, 10) / 10:
            kept = round(group.channels * (1 - ratio))
            value = max(0.0, top * (1 - kept / group.channels) ** power + rng.normal(0, 0.003))
            sums[name, kept, "kl"] = Paired(samples, samples * value, 0.0, samples * value)
    widths = {name: group.channels for name, group in free.items()}
    scores = {name: torch.arange(width) for name, width in widths.items()}
    return fl.Curves(sums, {"kl": Paired(samples)}, widths, dict.fromkeys(widths, 1.0), scores=scores)


def planning(name: str, model: nn.Module, rounds: int) -> dict:
    """Return how long the planner takes: the best of several rounds, on the clock and of the processor."""
    graph = fl.trace(model.eval(), torch.randn(1, 3, 128, 128))
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    curves = made_up(graph)
    clock, processor = [], []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        plan = fl.allocate(graph, curves, macs=0.5, multiple=8)
        clock.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    result = {
        "convolutions": convolutions,
        "groups": len(curves.widths),
        "seconds": round(min(clock), 2),
        "processor_seconds": round(min(processor), 2),
        "macs": round(graph.cost(plan).macs / graph.cost().macs, 5),
    }
    print(name, result, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="training pictures that the curves are made of")
    parser.add_argument("--rounds", type=int, default=3, help="of planning; the best counts")
    parser.add_argument("--plans", type=int, default=30, help="random plans to forecast")
    parser.add_argument("--part", choices=["all", "planning", "plans", "forecasts"], default="all")
    options = parser.parse_args()
    from torchvision.models import resnet152

    task = fl.tasks.fashion_mnist()
    result = json.loads(OUTPUT.read_text()) if options.part != "all" else {}
    command = f"python tests/benchmarks/allocation.py --samples {options.samples} --rounds {options.rounds}"
    result |= fl.studies.record("allocation", title=TITLE, command=command) | {
        "curves": f"the first {options.samples} training pictures, FPGM, bfloat16",
        "judged on": "all validation pictures, not fine-tuned, bfloat16; repaired by 512 training pictures",
    }
    for part, key, run in (
        ("planning", "resnet152", lambda: planning("resnet152", resnet152(), options.rounds)),
        ("planning", "like yolov5l", lambda: planning("like yolov5l", YoloSized(), options.rounds)),
        *(("forecasts", name, lambda n=name: forecasts(n, task, options.plans)) for name in CHECKPOINTS),
        *(
            (f"multiple={multiple}", name, lambda n=name, m=multiple: accuracies(n, task, m, options.samples))
            for multiple in (1, 8)
            for name in CHECKPOINTS
        ),
    ):
        if options.part in ("all", "plans" if part.startswith("multiple") else part):
            result.setdefault(part, {})[key] = run()
            OUTPUT.parent.mkdir(exist_ok=True)
            OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

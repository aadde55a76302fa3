#!/usr/bin/env python
"""How fast the sweep is, against pruning a copy with torch-pruning and evaluating it for each point.

python tests/benchmarks/sweep.py              # 35 minutes on 2 cores; writes data/results/sweep.json
python tests/benchmarks/sweep.py --every 3    # 15 minutes: the naive loop's time from every third point
python tests/benchmarks/sweep.py --part a     # only one of the parts a, b, c, d, e, f
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch_pruning as tp
from torch import nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.sensitivity.replay.points import RATIOS, Point, points

TITLE = "How fast sweeps are, and what they need, against the loops that one writes"
COMMAND = "python tests/benchmarks/sweep.py"
OUTPUT = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "sweep.json"
PIXELS, BATCH = 64, 128  # of part a
FIRST = 64  # samples of the first complete picture
METRICS = ("accuracy", "loss")


def resnet50(samples: int) -> tuple[fl.ChannelGraph, fl.tasks.Classification]:
    """Return ResNet-50, untrained, with noise to look at: what it costs does not depend on what it has learnt."""
    from torchvision import models

    torch.manual_seed(0)
    noise = TensorDataset(torch.randn(samples, 3, PIXELS, PIXELS), torch.arange(samples) % 10)
    task = fl.tasks.Classification(noise, noise, classes=10, name="noise")
    return fl.trace(models.resnet50(num_classes=10).eval(), task.example_input), task


def pruned(graph: fl.ChannelGraph, point: Point) -> nn.Module:
    """Cut a point's channels out of a copy, as torch-pruning does it."""
    model = copy.deepcopy(graph.model)
    connections = tp.DependencyGraph().build_dependency(model, graph.example_input)
    root = model.get_submodule(point.group)
    group = connections.get_pruning_group(root, tp.prune_conv_out_channels, idxs=list(point.plan.removed[point.group]))
    group.prune()
    return model


def seconds(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def compare(
    curves: fl.Curves, naive: dict[tuple[str, int], dict], metrics: Sequence[str] = METRICS
) -> dict[str, float]:
    """Return the largest difference of any point, by metric."""
    values = curves.frame.set_index(["group", "kept", "metric"])["value"]
    apart = {m: max(abs(values[*place, m] - found[m]) for place, found in naive.items()) for m in metrics}
    return {metric: float(f"{value:.1e}") for metric, value in apart.items()}


def against_pruning(every: int, samples: int = 256) -> dict:
    """Part a: ResNet-50, all groups, the ratios 0.1 to 0.9; the naive loop copies, prunes and evaluates."""
    graph, task = resnet50(samples)
    scores = fl.score(graph)
    grid = points(graph, scores, RATIOS, 1)
    naive, taken = {}, dict.fromkeys(("naive", "float32", "bfloat16", "first float32", "first bfloat16"), 0.0)
    found = {}

    def sweep(name: str, dtype: str, count: int, batch: int) -> None:
        spent, found[name] = seconds(
            lambda: fl.sweep(graph, scores, task, dtype=dtype, max_samples=count, batch_size=batch, progress=False)
        )
        taken[name] += spent

    for half in (grid[::2], grid[1::2]):  # the sweeps in the middle: what else runs on the machine meets all alike
        for dtype in ("float32", "bfloat16") if naive else ():
            sweep(dtype, dtype, samples, BATCH)
            sweep(f"first {dtype}", dtype, FIRST, FIRST)
        for point in half[::every]:
            spent, naive[point.group, point.kept] = seconds(
                lambda point=point: fl.evaluate(pruned(graph, point), task, batch_size=FIRST)
            )
            taken["naive"] += spent * len(half) / len(half[::every])
    return {
        "what": f"ResNet-50, {PIXELS} px, {samples} samples, {len(grid)} points",
        "seconds": {name: round(value, 1) for name, value in taken.items()},
        "over_naive": {name: round(taken["naive"] / value, 2) for name, value in taken.items() if name != "naive"},
        "first_picture_over_all": round(taken["float32"] / taken["first float32"], 2),
        "largest_difference_to_naive": compare(found["float32"], naive),
    }


def against_evaluating(every: int, samples: int = 2000, everything: int = 10_000, tolerance: float = 0.02) -> dict:
    """Part b: the shipped ResNet-20; of the naive loop only the evaluation counts."""
    task = fl.tasks.fashion_mnist()
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    scores = fl.score(graph)
    grid = points(graph, scores, RATIOS, 1)
    ways = {
        f"{dtype}{name}": {**options, "dtype": dtype}
        for dtype in ("float32", "bfloat16")
        for name, options in {
            "": {"max_samples": samples, "batch_size": 500},
            ", tolerance": {"max_samples": everything, "batch_size": 250, "tolerance": tolerance},
        }.items()
    }
    few, full, found = {}, {}, {}
    taken = dict.fromkeys(("naive", "naive, all", *ways), 0.0)
    for half in (grid[::2], grid[1::2]):
        for name, options in ways.items() if few else ():
            taken[name], found[name] = seconds(lambda o=options: fl.sweep(graph, scores, task, progress=False, **o))
        for point in half[::every]:
            model, place = fl.prune(graph, point.plan), (point.group, point.kept)
            for name, results, count in (("naive", few, samples), ("naive, all", full, everything)):
                spent, results[place] = seconds(lambda m=model, c=count: fl.evaluate(m, task, max_samples=c))
                taken[name] += spent * len(half) / len(half[::every])
    whole = fl.sweep(graph, scores, task, metrics=METRICS, progress=False)  # every point, whatever `every` is
    return {
        "what": f"resnet20-fashion, {samples} samples, {len(grid)} points",
        "seconds": {name: round(value, 1) for name, value in taken.items()},
        "over_naive": {name: round(taken["naive"] / taken[name], 2) for name in ("float32", "bfloat16")},
        "largest_difference_to_naive": compare(found["float32"], few),
        f"tolerance {tolerance}, {everything} samples": {
            "all_samples_to_naive": compare(whole, full),
            **{
                dtype: {
                    "over_naive": round(taken["naive, all"] / taken[f"{dtype}, tolerance"], 1),
                    **within(found[f"{dtype}, tolerance"], whole, tolerance),
                }
                for dtype in ("float32", "bfloat16")
            },
        },
    }


def within(curves: fl.Curves, whole: fl.Curves, tolerance: float) -> dict:
    """Return how near the points are to the accuracies on all samples."""
    pruned = "metric == 'accuracy' and ratio > 0"
    early, full = (c.frame.query(pruned).set_index(["group", "kept"]) for c in (curves, whole))
    apart = (early["value"] - full["value"]).abs()
    return {
        "samples_per_point": round(float(early["samples"].mean())),
        "share_within": round(float((apart <= tolerance).mean()), 3),
        "largest_difference": round(float(apart.max()), 4),
    }


def photographs(count: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return cuttings of three photographs, as a detection task's data set has them, without boxes."""
    from skimage import data

    drawn = np.random.default_rng(0)
    found = []
    for number in range(count):
        photograph = (data.chelsea, data.coffee, data.astronaut)[number % 3]()
        height, width = (round(n * drawn.uniform(0.7, 1)) for n in photograph.shape[:2])
        top, left = (drawn.integers(whole - n + 1) for whole, n in zip(photograph.shape, (height, width), strict=False))
        cutting = torch.from_numpy(photograph[top : top + height, left : left + width].copy()).permute(2, 0, 1)
        found.append((cutting, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))
    return found


def detector(every: int, samples: int = 16, metric: str = "agreement_map50") -> dict:
    """Part e: YOLOv5s from COCO, without labels; the naive loop copies, prunes and compares detections."""
    model = fl.models.load("yolov5s-coco")
    pictures = photographs(samples)
    task = fl.tasks.Detection(pictures, pictures, classes=model.names, size=416)
    graph = fl.trace(model, task.example_input)
    scores = fl.score(graph)
    ratios = (0.1, 0.3, 0.5, 0.7, 0.9)
    grid = points(graph, scores, ratios, 1)
    ways = {dtype: {"dtype": dtype, "ratios": ratios, "metrics": (metric,)} for dtype in ("float32", "bfloat16")}
    naive, found, taken = {}, {}, dict.fromkeys(("naive", *ways), 0.0)

    @torch.no_grad()
    def evaluate(network: nn.Module) -> float:
        judge = task.metrics[metric]()
        for (inputs, _), wanted in zip(task.val_batches(task.eval_batch_size), reference, strict=True):
            judge.update(network(inputs), wanted)
        return float(judge.compute())

    def swept(**options: object) -> fl.Curves:
        curves = fl.sweep(graph, scores, task, progress=False, **options)
        curves.frame  # noqa: B018 (where the metric is computed)
        return curves

    with torch.no_grad():
        reference = [model(inputs) for inputs, _ in task.val_batches(task.eval_batch_size)]
    for half in (grid[::2], grid[1::2]):
        for dtype, options in ways.items() if naive else ():
            taken[dtype], found[dtype] = seconds(lambda o=options: swept(**o))
        for point in half[::every]:
            spent, naive[point.group, point.kept] = seconds(
                lambda point=point: {metric: evaluate(pruned(graph, point))}
            )
            taken["naive"] += spent * len(half) / len(half[::every])
    return {
        "what": f"YOLOv5s from COCO, {task.size} px, {samples} pictures, {len(grid)} points, {metric}",
        "seconds": {name: round(value, 1) for name, value in taken.items()},
        "over_naive": {dtype: round(taken["naive"] / taken[dtype], 2) for dtype in ways},
        "largest_difference_to_naive": {dtype: compare(curves, naive, (metric,)) for dtype, curves in found.items()},
    }


def linear(every: int) -> dict:
    """Part c: seconds by the number of samples."""
    task = fl.tasks.fashion_mnist()
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    scores = fl.score(graph)
    counts = (512, 1024, 2048, 4096)
    best = dict.fromkeys(counts, float("inf"))
    for _ in range(2):
        for count in counts:
            run = lambda c=count: fl.sweep(graph, scores, task, max_samples=c, dtype="bfloat16", progress=False)  # noqa: E731
            best[count] = min(best[count], seconds(run)[0])
    return {"what": "resnet20-fashion, bfloat16: seconds by samples", **{str(n): round(s, 1) for n, s in best.items()}}


def repaired(every: int, few: int = 1000, everything: int = 10_000) -> dict:
    """Part f: sweeps of repaired points against plain ones, in turns; on the clock and of the processor.

    All samples only when ``every`` is 1.
    """
    task = fl.tasks.fashion_mnist()
    found: dict[str, dict] = {}
    for name in ("resnet20-fashion", "vgg16-fashion"):
        graph = fl.trace(fl.models.load(name), task.example_input)
        scores = fl.score(graph)
        for count, rounds in ((few, 2), (everything, 1))[: 2 if every == 1 else 1]:
            taken = {False: [0.0, 0.0], True: [0.0, 0.0]}
            for repair in (False, True) * rounds:
                used, options = time.process_time(), {"repair": repair, "max_samples": count, "progress": False}
                taken[repair][0] += seconds(lambda o=options: fl.sweep(graph, scores, task, **o))[0]  # noqa: B023
                taken[repair][1] += time.process_time() - used
            (plain, plain_used), (mended, mended_used) = taken[False], taken[True]
            found[f"{name}, {count} samples"] = {
                "seconds": {"plain": round(plain / rounds, 1), "repaired": round(mended / rounds, 1)},
                "over_plain": round(mended / plain, 2),
                "processor_over_plain": round(mended_used / plain_used, 2),
            }
            print(name, count, found[f"{name}, {count} samples"], flush=True)
    return {"what": "sweep(repair=True) by 512 pictures against the plain sweep, ratios .1 to .9, float32", **found}


def memory(every: int) -> dict:
    """Part d: megabytes that a process of its own takes at most, above what it takes before."""

    def peak(what: str) -> int:
        command = [sys.executable, __file__, "--memory", what]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    peaks = {what: peak(what) for what in ("training", "float32", "bfloat16")}
    return {"what": f"ResNet-50, {PIXELS} px, {BATCH} samples at a time: peak megabytes", **peaks}


def measure_memory(what: str) -> int:
    graph, task = resnet50(BATCH)
    scores = fl.score(graph)
    before = peak_kilobytes()
    if what == "training":
        fl.fit(graph.model, task, 1, batch_size=BATCH, progress=False)
    else:
        fl.sweep(graph, scores, task, ratios=(0.5,), dtype=what, batch_size=BATCH, progress=False)
    return (peak_kilobytes() - before) // 1024


def peak_kilobytes() -> int:
    """Return the most memory that this process has had (`resource` would also count its parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def parts(chosen: str, every: int) -> Iterator[tuple[str, str, dict]]:
    runs = {"a": against_pruning, "b": against_evaluating, "c": linear, "d": memory, "e": detector, "f": repaired}
    for part, run in runs.items():
        if chosen in ("all", part):
            yield part, run.__name__, run(every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", *"abcdef"], default="all")
    parser.add_argument("--every", type=int, default=1, help="give the naive loop only every k-th point, and scale up")
    parser.add_argument("--memory", choices=["training", "float32", "bfloat16"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(measure_memory(options.memory))
        return
    result = json.loads(OUTPUT.read_text()) if options.part != "all" and OUTPUT.exists() else {}
    for part, name, found in parts(options.part, options.every):
        result |= fl.studies.record("sweep", title=TITLE, command=COMMAND)
        result[name] = fl.studies.part(f"{COMMAND} --part {part} --every {options.every}") | found
        print(name, json.dumps(found, indent=2), flush=True)
        OUTPUT.parent.mkdir(exist_ok=True)
        OUTPUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""How fast the sweep is, against pruning and evaluating a copy for each point: ratios in one interleaved run.

python tests/benchmarks/sweep.py                # prints a table and writes data/results/sweep.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

import fpgmlab as fl

ROOT = Path(__file__).resolve().parent.parent.parent
RATIOS = (0.2, 0.4, 0.6, 0.8)


def naive(graph: fl.ChannelGraph, scores: dict, task: fl.tasks.Classification, count: int) -> dict:
    """Prune a copy for each point and evaluate it on all samples."""
    found = {}
    for name, group in graph.items():
        if group.protected is None:
            for ratio in RATIOS:
                plan = fl.Plan.from_ratios(graph, scores, {name: ratio})
                found[name, plan.kept[name]] = fl.evaluate(fl.prune(graph, plan), task, max_samples=count)
    return found


def measure(graph: fl.ChannelGraph, task: fl.tasks.Classification, count: int, rounds: int) -> dict:
    scores = fl.score(graph)
    options = {"ratios": RATIOS, "max_samples": count, "progress": False}
    ways = {
        "one_evaluation": lambda: fl.evaluate(graph.model, task, max_samples=count),
        "naive": lambda: naive(graph, scores, task, count),
        "float32": lambda: fl.sweep(graph, scores, task, **options),
        "bfloat16": lambda: fl.sweep(graph, scores, task, dtype="bfloat16", **options),
    }
    best = dict.fromkeys(ways, float("inf"))
    results = {}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            results[name] = run()
            best[name] = min(best[name], time.perf_counter() - start)
    frame = results["float32"].frame.set_index(["group", "kept", "metric"])["value"]
    apart = max(
        abs(frame[group, kept, metric] - point[metric])
        for (group, kept), point in results["naive"].items()
        for metric in ("accuracy", "loss")
    )
    return {
        "points": len(results["naive"]),
        "samples": count,
        "seconds": {name: round(value, 2) for name, value in best.items()},
        "over_naive": {name: round(best["naive"] / best[name], 2) for name in ("float32", "bfloat16")},
        "in_evaluations": {name: round(best[name] / best["one_evaluation"], 1) for name in best},
        "largest_difference_to_naive": float(f"{apart:.1e}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    from torchvision.models import resnet50

    fashion = fl.tasks.fashion_mnist()
    torch.manual_seed(0)
    noise = TensorDataset(torch.randn(16, 3, 128, 128), torch.arange(16) % 10)
    pictures = fl.tasks.Classification(noise, noise, classes=10, name="noise")
    large = resnet50(num_classes=10).eval()
    result = {
        "command": f"python tests/benchmarks/sweep.py --rounds {rounds}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "resnet20-fashion": measure(
            fl.trace(fl.models.load("resnet20-fashion"), fashion.example_input), fashion, 256, rounds
        ),
        "resnet50, 128 px, untrained": measure(fl.trace(large, pictures.example_input), pictures, 16, rounds),
    }
    text = json.dumps(result, indent=2)
    print(text)
    (ROOT / "data" / "results").mkdir(exist_ok=True)
    (ROOT / "data" / "results" / "sweep.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

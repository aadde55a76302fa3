#!/usr/bin/env python
"""What criteria are worth after repair: the same widths, channels chosen by each, accuracy on all test pictures.

python tests/benchmarks/reconstruction.py       # prints the numbers and writes data/results/reconstruction.json

Five draws of 512 training pictures without labels, each for the criterion (where it looks at pictures) and for
`fpgmlab.repair`; random scores are drawn anew with them. Intervals (95 %, Student's t) are over the draws: of each
criterion, and of the paired differences to FPGM.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student

import fpgmlab as fl
from fpgmlab.criteria import Random, Reconstruction

ROOT = Path(__file__).resolve().parent.parent.parent
CHECKPOINTS = ("resnet20-fashion", "vgg16-fashion")
BUDGETS = (0.5, 0.35, 0.25)
SAMPLES = 512
Scorer = Callable[[fl.ChannelGraph, int], dict[str, torch.Tensor]]


def scorers(task: fl.tasks.Classification) -> dict[str, Scorer]:
    """Return the criteria; each is given a graph and the number of the draw."""
    return {
        "reconstruction": lambda graph, seed: fl.score(graph, Reconstruction(task, samples=SAMPLES, seed=seed)),
        "fpgm": lambda graph, seed: fl.score(graph, "fpgm"),
        "l2": lambda graph, seed: fl.score(graph, "l2"),
        "bn_gamma": lambda graph, seed: fl.score(graph, "bn_gamma"),
        "random": lambda graph, seed: fl.score(graph, Random(seed)),
    }


def interval(values: Sequence[float]) -> dict[str, float]:
    """Return the mean of some draws and its interval, in points."""
    mean, count = float(np.mean(values)), len(values)
    half = float(np.std(values, ddof=1) * student.ppf(0.975, count - 1) / count**0.5) if count > 1 else float("nan")
    return {"mean": round(mean, 2), "low": round(mean - half, 2), "high": round(mean + half, 2)}


def accuracy(model: torch.nn.Module, task: fl.tasks.Classification) -> float:
    """Return the accuracy on all test pictures, in points."""
    found = fl.evaluate(model.to(memory_format=torch.channels_last), task, batch_size=500, split="test")
    return 100 * float(found["accuracy"])


def measure(name: str, task: fl.tasks.Classification, draws: int) -> dict:
    graph = fl.trace(fl.models.load(name), task.example_input)
    seconds: dict[str, list[float]] = {}
    found: dict[str, dict[float, list[float]]] = {}
    for seed in range(draws):
        for criterion, scorer in scorers(task).items():
            start = time.perf_counter()
            scores = scorer(graph, seed)
            seconds.setdefault(criterion, []).append(time.perf_counter() - start)
            for budget in BUDGETS:
                plan = fl.Plan.uniform(graph, scores, macs=budget, multiple=1)
                repaired = fl.repair(graph, plan, task, samples=SAMPLES, seed=seed, progress=False)
                points = accuracy(repaired, task)
                found.setdefault(criterion, {}).setdefault(budget, []).append(points)
                print(name, "draw", seed, criterion, budget, f"{points:.2f}", flush=True)
    table = {}
    for criterion, by_budget in found.items():
        table[criterion] = {
            str(budget): interval(values)
            | {"over_fpgm": interval(np.subtract(values, found["fpgm"][budget]).tolist()), "draws": values}
            for budget, values in by_budget.items()
        }
        for entry in table[criterion].values():
            entry["draws"] = [round(value, 2) for value in entry["draws"]]
    return {
        "unpruned": round(accuracy(fl.models.load(name), task), 2),
        "after_repair": table,
        "seconds_to_score": {criterion: round(min(took), 2) for criterion, took in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    draws = parser.parse_args().draws
    task = fl.tasks.fashion_mnist(holdout=5000)
    result = {
        **fl.studies.record(
            "reconstruction",
            title="What criteria are worth after repair",
            command="python tests/benchmarks/reconstruction.py",
        ),
        "pictures": {"to_score_and_repair": SAMPLES, "to_judge": len(task.test), "draws": draws},
        "networks": {name: measure(name, task, draws) for name in CHECKPOINTS},
    }
    text = json.dumps(result, indent=2)
    print(text)
    (ROOT / "data" / "results" / "reconstruction.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

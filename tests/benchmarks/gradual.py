#!/usr/bin/env python
"""What pruning step by step is worth: repaired between the cuts, or repaired and trained, against one cut.

python tests/benchmarks/gradual.py                # half an hour on a core; writes data/results/gradual.json
python tests/benchmarks/gradual.py --part repair  # one of repair, training

Uniform cuts by FPGM with as many channels at the end, whatever the steps. Repaired by 512 training pictures, in the
history looked at by 2,000 held-out ones, judged by all test pictures. What is in the file already is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fpgmlab as fl

TITLE, COMMAND = "What pruning step by step is worth against one cut", "python tests/benchmarks/gradual.py"
OUTPUT = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "gradual.json"
NETWORKS = ("resnet20-fashion", "vgg16-fashion")
REPAIRED: dict[str, tuple[int, str]] = {  # cuts, towards
    "one cut": (1, "step"),
    "3 cuts": (3, "step"),
    "3 cuts, towards the whole network": (3, "whole"),
}
TRAINED: dict[str, tuple[int, int, str | None]] = {  # cuts, epochs after each, towards what repaired before them
    "one cut, repaired, 3 epochs": (1, 3, "step"),
    "3 cuts, repaired, an epoch each": (3, 1, "step"),
    "3 cuts, repaired towards the whole network, an epoch each": (3, 1, "whole"),
    "one cut, 3 epochs": (1, 3, None),
    "3 cuts, an epoch each": (3, 1, None),
}
SEEDS = 3
PICTURES = 10_000  # to train on


def repair() -> Iterator[tuple[str, str, float, int, dict[str, Any]]]:
    """Nothing is trained: name, way, budget, seed, options."""
    for seed in range(SEEDS):
        for name in NETWORKS:
            for budget in (0.35, 0.5):
                for way, (steps, towards) in REPAIRED.items():
                    between = [fl.Repair(seed=100 * seed, towards=towards)]
                    yield name, way, budget, seed, {"steps": steps, "between": between}


def training() -> Iterator[tuple[str, str, float, int, dict[str, Any]]]:
    """As many epochs in all, at the end or after each cut."""
    for seed in range(SEEDS):
        for way, (steps, epochs, towards) in TRAINED.items():
            fit = fl.Fit(epochs=epochs, lr=0.02, seed=100 * seed)
            between = [fit] if towards is None else [fl.Repair(seed=100 * seed, towards=towards), fit]
            yield "resnet20-fashion", way, 0.35, seed, {"steps": steps, "between": between}


PARTS = {part.__name__: part for part in (repair, training)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", *PARTS], default="all")
    options = parser.parse_args()
    task = fl.tasks.fashion_mnist(holdout=5000)
    fewer = task.subset(train=PICTURES)
    head = fl.studies.record("gradual", title=TITLE, command=COMMAND)
    result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else head | {"unpruned": {}}
    for part, runs in PARTS.items():
        if options.part not in ("all", part):
            continue
        result |= head
        found = result[part] = fl.studies.part(f"{COMMAND} --part {part}") | {
            "runs": result.get(part, {"runs": []})["runs"]
        }
        done = {(run["network"], run["way"], run["budget"], run["seed"]) for run in found["runs"]}
        for name, way, budget, seed, given in runs():
            model = fl.models.load(name)
            if name not in result["unpruned"]:
                result["unpruned"][name] = round(fl.evaluate(model, task, split="test")["accuracy"], 4)
            if (name, way, budget, seed) in done:
                continue
            started = time.process_time()
            small, history = fl.prune_gradually(
                model, task if part == "repair" else fewer, target=budget, multiple=1, max_samples=2000,
                progress=False, **given,
            )  # fmt: skip
            run = {"network": name, "way": way, "budget": budget, "seed": seed}
            run |= {"accuracy": round(fl.evaluate(small, task, split="test")["accuracy"], 4)}
            run |= {"cpu_seconds": round(time.process_time() - started, 1)}  # the core is not ours alone
            columns = history[["step", "stage", "macs", "accuracy"]].round(4)
            run["history"] = columns.to_dict("list")
            print(part, json.dumps({key: value for key, value in run.items() if key != "history"}), flush=True)
            found["runs"].append(run)
            OUTPUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Is `fit` as fast as a loop that somebody writes for one network, with a DataLoader?

python tests/benchmarks/fitting.py                    # 5 minutes on 2 cores; writes data/results/fitting.json
python tests/benchmarks/fitting.py --network yolov5s  # one of resnet20, yolov5n, yolov5s

Both train the same steps on the same data with the same augmentation, layout in memory, number of workers and one
evaluation at the end, in turns; what is stored is the ratio in each turn. Two settings: all cores train and read in
between, and one trains while one reads, as beside a GPU. The machine must have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import fpgmlab as fl
from fpgmlab.common.batches import on_device
from fpgmlab.recovery.steps import _warm_cosine
from fpgmlab.tasks.detection.items import stacked

TITLE, COMMAND = "How fast fit trains beside a loop written for one network", "python tests/benchmarks/fitting.py"
OUTPUT = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "fitting.json"
TURNS, EPOCHS = 2, 4  # what a training does once, a tenth of a second, shall not count for much
GENERATOR = torch.Generator()


def augmented(examples: list) -> tuple[Tensor, Tensor]:
    """Collate and augment a batch of Fashion-MNIST, in the worker."""
    images, labels = torch.utils.data.default_collate(examples)
    return fl.tasks.shift_and_flip(2)(images, GENERATOR), labels


class Augmented(Dataset):
    """The tiles, each augmented, in the worker."""

    def __init__(self, task: fl.tasks.Detection) -> None:
        self._data, self._augment, self._size = task.train, task.augment, task.size

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        return self._augment(self._data[number], self._size, GENERATOR)


def fashion() -> tuple[fl.tasks.Task, Dataset, Callable, int]:
    task = fl.tasks.fashion_mnist().subset(train=128 * 12, val=128)
    return task, task.train, augmented, 128


def trees() -> tuple[fl.tasks.Task, Dataset, Callable, int]:
    task = fl.tasks.trees().subset(val=1)
    return task, Augmented(task), stacked, 8


NETWORKS = {
    "resnet20": (lambda: fl.models.build("resnet20", channels=1), fashion),
    "yolov5n": (lambda: fl.models.build("yolov5n", classes=1), trees),
    "yolov5s": (lambda: fl.models.build("yolov5s", classes=1), trees),
}


def bare(model: nn.Module, task: fl.tasks.Task, data: Dataset, collate: Callable, size: int, workers: int) -> None:
    loader = DataLoader(data, size, shuffle=True, drop_last=True, num_workers=workers, collate_fn=collate)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(EPOCHS * len(loader)))
    for _ in range(EPOCHS):
        model.train()
        for inputs, targets in loader:
            inputs = on_device(inputs, torch.device("cpu"), channels_last=True)
            optimizer.zero_grad()
            task.loss(model(inputs), targets).backward()
            optimizer.step()
            schedule.step()
        fl.evaluate(model, task)


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measured(name: str, turns: int) -> dict[str, object]:
    build, make = NETWORKS[name]
    task, data, collate, size = make()
    options = {"epochs": EPOCHS, "lr": 0.01, "batch_size": size, "progress": False}
    examples = EPOCHS * (len(task.train) // size * size)
    found: dict[str, dict[str, object]] = {}
    fl.fit(build(), task.subset(train=2 * size), **options | {"epochs": 1})  # what is done once in a process
    for setting, threads, workers in (("all cores train", os.cpu_count(), 0), ("one trains, one reads", 1, 1)):
        torch.set_num_threads(threads or 1)
        ways: list[Callable[[], object]] = [
            lambda n=workers: bare(build(), task, data, collate, size, n),
            lambda n=workers: fl.fit(build(), task, workers=n, **options),
        ]
        times: list[list[float]] = [[], []]
        for turn in range(turns):
            for way in (0, 1) if turn % 2 else (1, 0):
                times[way].append(seconds(ways[way]))
        ratios = [one / other for one, other in zip(*times, strict=True)]
        found[setting] = {
            "bare": round(examples / statistics.median(times[0]), 1),
            "fit": round(examples / statistics.median(times[1]), 1),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
        }
        if workers:
            alone = seconds(lambda: fl.fit(build(), task, **options))
            found[setting]["fit without workers"] = round(examples / alone, 1)
        print(name, setting, json.dumps(found[setting]), flush=True)
    return {"examples": examples, "unit": "examples a second", **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), help="all when left out")
    options = parser.parse_args()
    result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    for name in [options.network] if options.network else NETWORKS:
        torch.manual_seed(0)
        here = fl.studies.part(f"{COMMAND} --network {name}", machine=fl.studies.machine(threads=os.cpu_count()))
        result |= fl.studies.record("fitting", title=TITLE, command=COMMAND, machine=here["machine"])
        result[name] = here | measured(name, TURNS)
        OUTPUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

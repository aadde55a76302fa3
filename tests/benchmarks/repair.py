#!/usr/bin/env python
"""What repair brings back: accuracies as cut, recalibrated and repaired, and how long it takes.

python tests/benchmarks/repair.py                # an hour on 2 cores; writes data/results/repair.json
python tests/benchmarks/repair.py --part speed   # one of classifiers, trees, yolov5s, mobilenet, speed, memory

Pictures are training pictures without their labels; plans are chosen by training pictures too. Of YOLOv5s and
MobileNetV2, whose training pictures are not here: photographs, their left parts to repair by, their right ones to
judge.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import torch
from torch import Tensor, nn

import fpgmlab as fl

TITLE, COMMAND = "What repair gives back, of classifiers and detectors", "python tests/benchmarks/repair.py"
OUTPUT = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "repair.json"
DRAWS = 3
PHOTOGRAPHS = (
    "chelsea", "coffee", "astronaut", "rocket", "immunohistochemistry", "retina", "hubble_deep_field", "coins", "moon",
)  # fmt: skip


def three(values: list[float], digits: int = 4) -> dict:
    """Return the mean of some draws, and their standard deviation."""
    spread = {"sd": round(stdev(values), digits)} if len(values) > 1 else {}
    return {"mean": round(mean(values), digits), **spread, "draws": [round(value, digits) for value in values]}


def recalibrated(graph: fl.ChannelGraph, plan: fl.Plan, task: object) -> nn.Module:
    model = fl.prune(graph, plan)
    fl.recalibrate(model, task)
    return model


def figures(graph: fl.ChannelGraph, plan: fl.Plan, task: object, samples: int = 512, split: str = "val") -> dict:
    """Return the metric of a plan's network as cut, recalibrated, and repaired by several draws of pictures."""

    def judged(model: nn.Module) -> float:
        return float(fl.evaluate(model, task, split=split)[task.metric_name])

    repaired = (fl.repair(graph, plan, task, samples=samples, seed=seed, progress=False) for seed in range(DRAWS))
    return {
        "macs": round(graph.cost(plan).macs / graph.cost().macs, 3),
        "as cut": round(judged(fl.prune(graph, plan)), 4),
        "recalibrated": round(judged(recalibrated(graph, plan, task)), 4),
        "repaired": three([judged(model) for model in repaired]),
    }


def classifiers() -> Iterator[tuple[str, dict]]:
    """All 10,000 test pictures; uniform plans by two criteria, and what is allocated by repaired curves."""
    task = fl.tasks.fashion_mnist(holdout=5000)
    for name, budgets in (("resnet20-fashion", (0.7, 0.5, 0.35)), ("vgg16-fashion", (0.5, 0.35, 0.25))):
        graph = fl.trace(fl.models.load(name), task.example_input)
        yield f"{name}, unpruned", {"accuracy": round(fl.evaluate(graph.model, task, split="test")["accuracy"], 4)}
        scores = {"fpgm": fl.score(graph, "fpgm"), "reconstruction": fl.score(graph, fl.criteria.Reconstruction(task))}
        curves = fl.sweep(graph, scores["reconstruction"], task, repair=True, progress=False)
        for macs in budgets:
            plans = {
                f"uniform, {rule}": fl.Plan.uniform(graph, own, macs=macs, multiple=1) for rule, own in scores.items()
            }
            plans["allocated, reconstruction"] = fl.allocate(graph, curves, macs=macs, multiple=8)
            for way, plan in plans.items():
                yield f"{name}, {macs:.0%}, {way}", figures(graph, plan, task, split="test")


def trees() -> Iterator[tuple[str, dict]]:
    """mAP@0.5 of the small detector on the 10 validation tiles; 37 training tiles without labels."""
    task = fl.tasks.trees()
    graph = fl.trace(fl.models.load("yolov5n-trees"), task.example_input)
    yield "yolov5n-trees, unpruned", {"map50": round(fl.evaluate(graph.model, task)["map50"], 4)}
    tiles = len(task.train)
    scores = {
        "fpgm": fl.score(graph, "fpgm"),
        "reconstruction": fl.score(graph, fl.criteria.Reconstruction(task, samples=tiles)),
    }
    for macs in (0.75, 0.56, 0.4):
        for rule, own in scores.items():
            plan = fl.Plan.uniform(graph, own, macs=macs, multiple=1)
            yield f"yolov5n-trees, {macs:.0%}, uniform, {rule}", figures(graph, plan, task, tiles)


def cuttings(count: int, right: bool, size: int) -> Tensor:
    """Return squares cut from the left 60 % or the right 40 % of some photographs, (count, 3, size, size), 0 to 1."""
    from skimage import data
    from torchvision.transforms.v2.functional import resize

    drawn = np.random.default_rng(int(right))
    found = []
    for number in range(count):
        load: Callable[[], np.ndarray] = getattr(data, PHOTOGRAPHS[number % len(PHOTOGRAPHS)])
        photograph = torch.from_numpy(np.array(load()))
        photograph = (photograph if photograph.ndim == 3 else photograph[..., None].expand(-1, -1, 3)).permute(2, 0, 1)
        edge = round(0.6 * photograph.shape[2])
        half = photograph[:, :, edge:] if right else photograph[:, :, :edge]
        side = round(min(half.shape[1:]) * drawn.uniform(0.5, 1))
        top, left = (int(drawn.integers(whole - side + 1)) for whole in half.shape[1:])
        found.append(resize(half[:, top : top + side, left : left + side], [size, size], antialias=True))
    return torch.stack(found).float() / 255


def yolov5s(size: int = 320, used: int = 90, judged: int = 27) -> Iterator[tuple[str, dict]]:
    """Agreement with the unpruned network's detections (mAP@0.5) on parts of photographs that were not used."""
    model = fl.models.load("yolov5s-coco")
    pictures = [(picture * 255).to(torch.uint8) for picture in cuttings(judged, True, size)]
    boxed = [(picture, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)) for picture in pictures]
    task = fl.tasks.Detection(boxed, boxed, classes=model.names, size=size, augment=None)
    graph = fl.trace(model, task.example_input)
    batches = list(cuttings(used, False, size).split(15))

    @torch.no_grad()
    def agreement(network: nn.Module) -> float:
        judge = task.metrics["agreement_map50"]()
        for inputs, _ in task.val_batches(9):
            judge.update(network(inputs), model(inputs))
        return round(float(judge.compute()), 4)

    yield from by_photographs("yolov5s-coco", graph, batches, used, agreement, (0.7, 0.56))


def by_photographs(
    name: str, graph: fl.ChannelGraph, batches: list[Tensor], used: int, agreement: Callable[[nn.Module], float],
    budgets: tuple[float, ...],
) -> Iterator[tuple[str, dict]]:  # fmt: skip
    from fpgmlab.recovery.recalibration import estimate

    rules = {"fpgm": fl.criteria.FPGM(), "reconstruction": fl.criteria.Reconstruction(batches, samples=used)}
    scores = {rule: fl.score(graph, criterion) for rule, criterion in rules.items()}
    for macs in budgets:
        for rule, own in scores.items():
            plan = fl.Plan.uniform(graph, own, macs=macs, multiple=1)
            cut = fl.prune(graph, plan)
            as_cut = agreement(cut)
            estimate(cut, batches)
            start = time.perf_counter()
            repaired = fl.repair(graph, plan, batches, samples=used, progress=False)
            spent = time.perf_counter() - start
            yield (
                f"{name}, {macs:.0%}, uniform, {rule}",
                {
                    "macs": round(graph.cost(plan).macs / graph.cost().macs, 3),
                    "as cut": as_cut,
                    "recalibrated": agreement(cut),
                    "repaired": agreement(repaired),
                    "seconds": round(spent, 1),
                },
            )


def mobilenet(size: int = 192, used: int = 512, judged: int = 360) -> Iterator[tuple[str, dict]]:
    """Share of equal top-1 answers on parts of photographs that were not used."""
    from torchvision import models

    model = models.mobilenet_v2()
    model.load_state_dict(fl.assets.state_dict("mobilenet_v2-imagenet"))
    model.eval()

    def normalised(right: bool, count: int) -> list[Tensor]:
        shade = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 1, 3, 1, 1)
        return list(((cuttings(count, right, size) - shade[0]) / shade[1]).split(64))

    batches, others = normalised(False, used), normalised(True, judged)
    graph = fl.trace(model, batches[0][:1])

    @torch.no_grad()
    def agreement(network: nn.Module) -> float:
        same = [network(x).argmax(1) == model(x).argmax(1) for x in others]
        return round(float(torch.cat(same).float().mean()), 4)

    yield from by_photographs("mobilenet_v2", graph, batches, used, agreement, (0.8, 0.7))


def seconds(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def speed(rounds: int = 5) -> Iterator[tuple[str, dict]]:
    """ResNet-20 at half of its MACs, in turns: repair, plain passes of both networks, training to the same accuracy."""
    task = fl.tasks.fashion_mnist()
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), macs=0.5, multiple=1)
    cut = fl.prune(graph, plan)
    batches = [inputs for inputs, _ in islice(task.train_batches(128, seed=0), 4)]

    @torch.no_grad()
    def passes() -> None:
        for model in (graph.model, cut):
            for inputs in batches:
                model(inputs)

    repaired, plain = [], []
    network: nn.Module = cut
    for _ in range(rounds):
        spent, found = seconds(lambda: fl.repair(graph, plan, task, progress=False))
        assert isinstance(found, nn.Module)
        network = found
        repaired.append(spent)
        plain.append(seconds(passes)[0])
    wanted = fl.evaluate(network, task)["accuracy"]
    some = task.subset(train=10_000)
    reached: dict[str, float] = {}
    for epochs in (1, 2, 3, 4):  # a schedule of its own each: what a user would ask for
        trained = copy.deepcopy(cut)
        whole = replace(some, val=task.subset(val=100).val)  # evaluation takes no time then
        extras = [fl.Distill(teacher=graph.model)]
        start = time.perf_counter()
        fl.fit(trained, whole, epochs, extras=extras, keep="last", progress=False)
        spent = time.perf_counter() - start
        reached[f"{epochs} epochs"] = round(fl.evaluate(trained, task)["accuracy"], 4)
        if reached[f"{epochs} epochs"] >= wanted:
            break
    yield (
        "speed",
        {
            "what": "resnet20-fashion at 50 % of its MACs, uniform FPGM, 512 pictures",
            "repair_seconds": three(repaired, 2),
            "over_plain_passes_of_both": round(median(r / p for r, p in zip(repaired, plain, strict=True)), 2),
            "accuracy": round(wanted, 4),
            "fit on 10,000 pictures with distillation": reached,
            "fit_seconds": round(spent, 1),
            "fit_over_repair": round(spent / median(repaired), 1),
        },
    )


def memory() -> Iterator[tuple[str, dict]]:
    """Megabytes that a process of its own takes at most, above what it takes before: repair, and a step of training."""

    def peak(what: str) -> int:
        command = [sys.executable, __file__, "--memory", what]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    yield (
        "memory",
        {
            "what": "ResNet-50, untrained, 64 px, 128 pictures, half of each group; megabytes at most",
            **{what: peak(what) for what in ("training", "repair")},
        },
    )


def measure_memory(what: str) -> int:
    from torch.utils.data import TensorDataset
    from torchvision import models

    torch.manual_seed(0)
    noise = TensorDataset(torch.randn(128, 3, 64, 64), torch.arange(128) % 10)
    task = fl.tasks.Classification(noise, noise, classes=10, name="noise")
    graph = fl.trace(models.resnet50(num_classes=10).eval(), task.example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.5, multiple=1)
    before = peak_kilobytes()
    if what == "training":
        fl.fit(graph.model, task, 1, batch_size=128, progress=False)
    else:
        fl.repair(graph, plan, task, samples=128, progress=False)
    return (peak_kilobytes() - before) // 1024


def peak_kilobytes() -> int:
    """Return the most memory that this process has had (`resource` would also count its parent's)."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


PARTS = {part.__name__: part for part in (classifiers, trees, yolov5s, mobilenet, speed, memory)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", *PARTS], default="all")
    parser.add_argument("--memory", choices=["training", "repair"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    if options.memory:
        print(measure_memory(options.memory))
        return
    result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    for name, part in PARTS.items():
        if options.part not in ("all", name):
            continue
        result |= fl.studies.record("repair", title=TITLE, command=COMMAND)
        result[name] = fl.studies.part(f"{COMMAND} --part {name}")
        for what, found in part():
            print(what, json.dumps(found), flush=True)
            result[name][what] = found
        OUTPUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

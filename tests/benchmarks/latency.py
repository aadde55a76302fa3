"""How well latency tables foretell, and what plans by milliseconds are worth beside plans by MACs.

    python -m tests.benchmarks.latency [--part predictions|planning|accuracy] [--threads 1]

Writes data/results/latency.json. ONNX Runtime on the CPU; of each network the quickest of some calls counts, in turns
with a call of its profile. The machine must be quiet.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

import fpgmlab as fl
from fpgmlab.allocation.forecast import forecast
from fpgmlab.deployment.machine import Machine
from fpgmlab.deployment.staircases import variants as made
from fpgmlab.deployment.staircases.variants import Variants
from tests.allocation.made import curves_of, rising

TITLE = "How well latency tables foretell, and plans by milliseconds beside plans by MACs"
COMMAND = "python -m tests.benchmarks.latency"
OUTPUT = Path(__file__).resolve().parents[2] / "data" / "results" / "latency.json"
ROUNDS = 8  # as tables are measured
# Counts that plans keep: whole blocks, quarters of them, and any.
KINDS = {"multiples of 16": (16,), "multiples of 4": (4,), "any": (1,), "any and multiples": (16, 4, 1, 1)}
EACH = 5  # plans of each kind
NETWORKS = ("resnet20", "resnet50", "yolov5s")


def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network and its input; the large ones with random weights, which take as long as trained ones."""
    torch.manual_seed(0)
    if name == "resnet20":
        return fl.models.load("resnet20-fashion").eval(), torch.randn(1, 1, 28, 28)
    if name == "yolov5s":
        return fl.models.build("yolov5s").eval(), torch.randn(1, 3, 416, 416)
    return getattr(torchvision.models, name)(weights=None).eval(), torch.randn(1, 3, 224, 224)


def predictions(threads: int, names: Sequence[str]) -> list[dict]:
    """Predicted over realised latency of random plans that no table was fitted to."""
    rows = []
    for name in names:
        model, example = network(name)
        graph = fl.trace(model, example)
        for dtype in ("float32", "int8"):
            started = time.perf_counter()
            table = fl.latency_table(graph, dtype=dtype, threads=threads)
            seconds = time.perf_counter() - started
            ratios: dict[str, list[float]] = {}
            with tempfile.TemporaryDirectory() as folder:
                there = Variants.of(graph, 1, dtype, Path(folder), threads, ROUNDS)
                for seed, (kind, counts) in enumerate(KINDS.items()):
                    plans = made.drawn_plans(graph, EACH + 1, 1000 + seed, designs=(counts,) * 3)
                    next(plans)  # the whole network
                    for plan in plans:
                        _, profile = there.time(plan)
                        ratios.setdefault(kind, []).append(table.latency(graph, plan) / profile.total)
            every = np.array([ratio for some in ratios.values() for ratio in some])
            rows.append({
                "network": name, "dtype": dtype, "seconds of the table": round(seconds, 1), "plans": len(every),
                "least": round(float(every.min()), 3), "median": round(float(np.median(every)), 3),
                "most": round(float(every.max()), 3), "within 7 %": int((abs(every - 1) <= 0.07).sum()),
                "by counts": {kind: [round(ratio, 3) for ratio in some] for kind, some in ratios.items()},
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def planning(threads: int) -> list[dict]:
    """What half of the MACs, and plans by milliseconds of the same predicted loss, take of the time."""
    rows = []
    for name, batch in (("resnet20", 1), ("resnet20", 32), ("resnet50", 1), ("yolov5s", 1)):
        for row in planned(name, batch, threads):
            rows.append({"network": name, "batch": batch, **row})
            print(rows[-1], flush=True)
    return rows


def planned(name: str, batch: int, threads: int) -> Iterator[dict]:
    """Yield a row for each way to a plan of one network."""
    model, example = network(name)
    graph = fl.trace(model, example)
    shipped = name == "resnet20"
    curves = (
        fl.sensitivity.shipped("resnet20-fashion", repaired=True) if shipped else curves_of(graph, rising(graph, 0))
    )
    table = fl.latency_table(graph, threads=threads, batch=batch)
    ways = {
        f"by MACs, multiple={multiple}": fl.allocate(graph, curves, macs=0.5, multiple=multiple)
        for multiple in (1, 8, "runtime")
    }
    loss = forecast(graph, curves, ways["by MACs, multiple=runtime"]).value
    ways["by milliseconds, same loss"] = same_loss(graph, curves, table, loss)
    for budget in (0.8, 0.7, 0.6, 0.5, 0.4):
        ways[f"by milliseconds, {budget}"] = fl.allocate(graph, curves, latency=budget, table=table)
    with tempfile.TemporaryDirectory() as folder:
        there = Variants.of(graph, batch, "float32", Path(folder), threads, ROUNDS)
        nothing = fl.Plan({group: each.channels for group, each in graph.items()}, {})
        for way, plan in ways.items():
            # In turns with the whole network, so that a slow moment meets both.
            whole, time_ = there.time(nothing)[1].total, there.time(plan)[1].total
            whole = min(whole, there.time(nothing)[1].total)
            macs = graph.cost(plan).macs / graph.cost().macs
            yield {
                "plan": way, "macs": round(macs, 3), "time": round(time_ / whole, 3),
                "predicted time": round(table.latency(graph, plan) / table.latency(graph), 3),
                "realised over theoretical": round(macs / (time_ / whole), 3),
                "predicted loss": round(forecast(graph, curves, plan).value, 4),
            }  # fmt: skip


def same_loss(graph: fl.ChannelGraph, curves: fl.Curves, table: fl.LatencyTable, loss: float) -> fl.Plan:
    """Return the quickest plan that is predicted to lose no more."""
    low, high = 0.05, 1.0
    best = fl.allocate(graph, curves, latency=1.0, table=table)
    for _ in range(12):
        middle = (low + high) / 2
        try:
            plan = fl.allocate(graph, curves, latency=middle, table=table)
        except ValueError:
            low = middle
            continue
        if forecast(graph, curves, plan).value <= loss:
            high, best = middle, plan
        else:
            low = middle
    return best


def accuracy(threads: int) -> list[dict]:
    """ResNet-20 repaired: plans by MACs and by milliseconds at equal time, on all test pictures."""
    task, name = fl.tasks.fashion_mnist(), "resnet20-fashion"
    graph = fl.trace(fl.models.load(name), task.example_input)
    curves = fl.sensitivity.shipped(name, repaired=True)
    rows = []
    for batch in (1, 32):
        table = fl.latency_table(graph, threads=threads, batch=batch)
        for share in (0.7, 0.5, 0.35):
            by_macs = fl.allocate(graph, curves, macs=share)
            time_ = table.latency(graph, by_macs) / table.latency(graph)
            for way, plan in (
                ("macs", by_macs),
                ("milliseconds", fl.allocate(graph, curves, latency=time_, table=table)),
            ):
                found = fl.evaluate(fl.repair(graph, plan, task, progress=False), task)["accuracy"]
                rows.append({
                    "batch": batch, "by": way, "macs": round(graph.cost(plan).macs / graph.cost().macs, 3),
                    "predicted time": round(table.latency(graph, plan) / table.latency(graph), 3),
                    "accuracy repaired": round(float(found), 4),
                })  # fmt: skip
                print(rows[-1], flush=True)
    return rows


PARTS = {"predictions": predictions, "planning": planning, "accuracy": accuracy}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    for part in [asked.part] if asked.part else PARTS:
        arguments = (asked.threads, asked.networks) if part == "predictions" else (asked.threads,)
        result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
        here = Machine.here("onnxruntime", asked.threads)
        words = f"{here.processor}, {fl.studies.machine(f'onnxruntime {here.version}', threads=asked.threads)}"
        command = f"{COMMAND} --part {part} --threads {asked.threads}"
        result |= fl.studies.record(
            "latency", title=TITLE, command=f"{COMMAND} --threads {asked.threads}", machine=words
        )
        result[part] = {
            **fl.studies.part(command),
            "machine": asdict(here),
            "rows": PARTS[part](*arguments),
        }
        OUTPUT.write_text(json.dumps(result, indent=1) + "\n")

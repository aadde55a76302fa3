#!/usr/bin/env python
"""Runtimes beside each other: do they agree, do they time fairly, and is any pruned network slower than before?

python tests/benchmarks/runtimes.py                # an hour on 2 cores; writes data/results/runtimes.json
python tests/benchmarks/runtimes.py --part parity  # one of parity, equal, slower
python tests/benchmarks/runtimes.py --part slower --network resnet50  # one network of this part

The machine must have nothing else to do. Weights of networks that are only timed are random.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
import torchvision
from torch import Tensor, nn

import fpgmlab as fl

TITLE = "Pruned networks in each runtime: the same answers, time over MACs"
COMMAND = "python tests/benchmarks/runtimes.py"
OUTPUT = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "runtimes.json"
PACKAGES = ("onnxruntime", "openvino", "ncnn", "executorch")
RATIOS = (0.1, 0.3, 0.5)
Given = tuple[nn.Module, Tensor]


def resnet20() -> Given:
    return fl.models.load("resnet20-fashion"), fl.tasks.fashion_mnist().example_input


def yolov5n() -> Given:
    return fl.models.load("yolov5n-trees"), fl.tasks.trees().example_input


def mobilenet() -> Given:
    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(fl.assets.state_dict("mobilenet_v2-imagenet"))
    return model.eval(), torch.randn(1, 3, 224, 224)


def resnet50() -> Given:
    return torchvision.models.resnet50().eval(), torch.randn(1, 3, 224, 224)


def efficientnet() -> Given:
    return torchvision.models.efficientnet_b0().eval(), torch.randn(1, 3, 224, 224)


def yolov5s() -> Given:
    return fl.models.build("yolov5s", classes=80).eval(), torch.rand(1, 3, 416, 416)


TIMED: dict[str, Callable[[], Given]] = {
    "mobilenet": mobilenet, "resnet50": resnet50, "yolov5s": yolov5s, "efficientnet": efficientnet,
}  # fmt: skip


def odd(model: nn.Module, example: Tensor) -> nn.Module:
    """Return the network with a sixth of each layer gone, at whatever numbers come out."""
    graph = fl.trace(model, example)
    return fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 1 / 6, multiple=1))


def parity() -> Iterator[tuple[str, object]]:
    """Largest difference to torch, relative to the largest output; pruned at odd widths, float32."""
    for make in (resnet20, mobilenet, yolov5n):
        model, example = make()
        networks = {"unpruned": model, "a sixth gone": odd(model, example)}
        frame = fl.benchmark(
            networks, example, runtimes=list(fl.deployment.RUNTIMES), threads=1, rounds=2, memory=False
        )
        for name, rows in frame.groupby("name", sort=False):
            found = {row.runtime: row.note or float(f"{row.parity:.1e}") for row in rows.itertuples()}
            yield f"{make.__name__}, {name}", found


def equal() -> Iterator[tuple[str, object]]:
    """The time of a network over that of the same network, in each runtime; one thread."""
    for make in (resnet20, mobilenet, yolov5n):
        model, example = make()
        frame = fl.benchmark(
            {"first": model, "again": model}, example, runtimes=list(fl.deployment.RUNTIMES), threads=1, rounds=60
        )
        again = frame[frame["name"] == "again"]
        yield make.__name__, {row.runtime: told(row) for row in again.itertuples()}


def told(row: object) -> object:
    """Return a row's ratio, time and memory, or the reason why there are none."""
    note, relative, ms, memory = (getattr(row, key) for key in ("note", "relative", "median_ms", "memory"))
    megabytes = {} if pd.isna(memory) else {"megabytes": round(memory / 1e6, 1)}
    return note or {"ratio": round(relative, 3), "ms": round(ms, 3), **megabytes}


def slower(only: str | None) -> Iterator[tuple[str, object]]:
    """The time of uniform plans with defaults over that of the unpruned network; one thread, float32 and INT8."""
    for make in (made for name, made in TIMED.items() if only in (None, name)):
        model, example = make()
        graph = fl.trace(model, example)
        scores = fl.score(graph, "l2")
        plans = {str(ratio): fl.Plan.uniform(graph, scores, ratio) for ratio in RATIOS}
        plans["0.1 at any numbers"] = fl.Plan.uniform(graph, scores, 0.1, multiple=1)
        networks = {"unpruned": model, **{name: fl.prune(graph, plan) for name, plan in plans.items()}}
        macs = {name: graph.cost(plan).macs / graph.cost().macs for name, plan in plans.items()}
        frames = {
            "float32": fl.benchmark(
                networks, example, runtimes=["onnxruntime", "openvino", "ncnn"], threads=1, rounds=20, memory=False
            )
        }
        with TemporaryDirectory() as folder:
            files = {name: in_int8(network, example, Path(folder), name) for name, network in networks.items()}
            frames["int8"] = fl.benchmark(
                files, example, runtimes=["onnxruntime", "openvino"], threads=1, rounds=20, memory=False
            )
        for numbers, frame in frames.items():
            for runtime, rows in frame.groupby("runtime", sort=False):
                found = {
                    row.name: row.note or {"macs": round(macs.get(row.name, 1.0), 3), "time": round(row.relative, 3)}
                    for row in rows.itertuples(index=False)
                    if row.name != "unpruned"
                }
                first = rows.iloc[0]["median_ms"]
                yield f"{make.__name__}, {numbers}, {runtime}", {"unpruned ms": round(float(first), 3), **found}


def in_int8(model: nn.Module, example: Tensor, folder: Path, name: str) -> Path:
    """Return an ONNX file in INT8, its ranges from noise: it is only timed."""
    plain, small = folder / f"{name} float.onnx", folder / f"{name}.onnx"
    fl.export_onnx(model, example, plain, tolerance=1e-2)
    batches = [torch.randn(8, *example.shape[1:]) for _ in range(2)]
    fl.quantize(plain, batches, small, samples=16, progress=False)
    return small


PARTS: dict[str, Callable[..., Iterator[tuple[str, object]]]] = {"parity": parity, "equal": equal, "slower": slower}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", *PARTS], default="all")
    parser.add_argument("--network", choices=list(TIMED), help="of the part 'slower'; all when left out")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    for name, part in PARTS.items():
        if options.part not in ("all", name):
            continue
        versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
        torch.manual_seed(0)
        here = fl.studies.part(f"{COMMAND} --part {name}", machine=fl.studies.machine(versions, threads=1))
        result |= fl.studies.record("runtimes", title=TITLE, command=COMMAND, machine=here["machine"])
        result[name] = (result.get(name, {}) if options.network else {}) | here
        for what, found in part(options.network) if part is slower else part():
            print(what, json.dumps(found), flush=True)
            result[name][what] = found
        OUTPUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""How fast FPGM's scores and exact medians are, against scipy's cdist: ratios in one interleaved run.

python tests/benchmarks/geometry.py                # prints a table and writes data/results/geometry.json
python tests/benchmarks/geometry.py --part network # scores of whole networks alone, into the same file

For each distinct shape of ResNet-152's convolutions (Gaussian weights: many near-ties) and of YOLOv5l's, the three are
run in turn; the best of a few rounds counts, times the number of layers of that shape. The removed sets at ratios 0.1
to 0.9 are compared with scipy's for each shape, and for every layer of the trained networks that ship.

Of whole networks: `fl.score` of ResNet-152 against nothing but ``torch.cdist(w, w).sum(1)`` of its convolutions, in
seconds of the processor, and what a network of very many small groups takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import nn

import fpgmlab as fl
from fpgmlab.geometry import distance_sums, geometric_median

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = ROOT / "data" / "results" / "geometry.json"
RATIOS = np.arange(1, 10) / 10


def resnet152_shapes() -> Counter:
    from torchvision.models import resnet152

    with torch.device("meta"):
        model = resnet152()
    return Counter((m.out_channels, m.weight[0].numel()) for m in model.modules() if isinstance(m, nn.Conv2d))


def yolov5l_shapes() -> Counter:
    """Return (filters, dim) of the convolutions of YOLOv5l 6.0, from its layout: depth 1, width 1, 80 classes."""
    shapes: list[tuple[int, int]] = []

    def conv(out: int, into: int, kernel: int = 1) -> int:
        shapes.append((out, into * kernel * kernel))
        return out

    def c3(out: int, into: int, repeats: int) -> int:
        half = out // 2
        conv(half, into), conv(half, into), conv(out, 2 * half)
        for _ in range(repeats):
            conv(half, half), conv(half, half, 3)
        return out

    conv(64, 3, 6)
    last = 64
    for out, repeats in ((128, 3), (256, 6), (512, 9), (1024, 3)):
        last = c3(out, conv(out, last, 3), repeats)
    conv(512, 1024), conv(1024, 2048)  # SPPF
    conv(512, 1024), c3(512, 1024, 3), conv(256, 512), c3(256, 512, 3)
    conv(256, 256, 3), c3(512, 512, 3), conv(512, 512, 3), c3(1024, 1024, 3)
    for width in (256, 512, 1024):
        conv(3 * 85, width)
    return Counter(shapes)


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> tuple[float, object]:
    start = clock()
    result = call()
    return clock() - start, result


def same_sets(ours: np.ndarray, theirs: np.ndarray) -> bool:
    a, b = np.argsort(ours, kind="stable"), np.argsort(theirs, kind="stable")
    return all(set(a[: int(r * len(a))]) == set(b[: int(r * len(b))]) for r in RATIOS)


def measure(shapes: Counter, rounds: int) -> dict:
    total, same, slowest = Counter(), True, 0
    for (n, dim), count in sorted(shapes.items()):
        weights = torch.randn(n, dim, generator=torch.Generator().manual_seed(n * dim)) * (2 / dim) ** 0.5
        doubles, best = weights.double().numpy(), dict.fromkeys(("scipy", "sums", "median"), np.inf)
        for _ in range(rounds):
            for name, call in {
                "scipy": lambda v=doubles: cdist(v, v).sum(1),
                "sums": lambda w=weights: distance_sums(w),
                "median": lambda w=weights: geometric_median(w),
            }.items():
                took, result = seconds(call)
                best[name] = min(best[name], took)
                if name == "scipy":
                    expected = result
                elif name == "sums":
                    same &= same_sets(result.numpy(), expected)
                else:
                    assert result.converged
                    slowest = max(slowest, result.iterations)
        for name, took in best.items():
            total[name] += count * took
    return {
        "layers": sum(shapes.values()),
        "scipy_seconds": round(total["scipy"], 3),
        "sums_seconds": round(total["sums"], 3),
        "median_seconds": round(total["median"], 3),
        "speedup_over_scipy": round(total["scipy"] / total["sums"], 1),
        "median_over_sums": round(total["median"] / total["sums"], 2),
        "same_removed_sets": bool(same),
        "most_iterations": slowest,
    }


def trained_layers() -> dict:
    """Compare removed sets, and count iterations, on every layer of the trained networks that ship or are cached."""
    layers = []
    for name in fl.models.available():
        layers += [m.weight for m in fl.models.load(name).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for name, cached in fl.assets.available()[["name", "cached"]].itertuples(index=False):
        if cached:
            layers += [w for w in fl.assets.state_dict(name).values() if w.ndim == 4 and w.shape[1] > 1]
    same = 0
    iterations = []
    for weight in layers:
        points = weight.detach().flatten(1)
        v = points.double().numpy()
        same += same_sets(distance_sums(points).numpy(), cdist(v, v).sum(1))
        median = geometric_median(points)
        assert median.converged
        iterations.append(median.iterations)
    return {
        "layers": len(layers),
        "with_the_same_sets": same,
        "median_of_iterations": float(np.median(iterations)),
        "most_iterations": max(iterations),
    }


def extra_memory() -> dict:
    """Return the peak of extra memory over all shapes, over the bytes of the largest distance matrix.

    Read from Linux' high-water mark, in a process of its own for each shape.
    """
    shapes = sorted(resnet152_shapes())
    matrix = 8 * max(n for n, _ in shapes) ** 2
    script = (
        "import re, torch; from fpgmlab.geometry import distance_sums, geometric_median\n"
        "peak = lambda key: 1024 * int(re.search(key + r':\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "w = torch.randn({n}, {dim}); {call}(torch.randn(200, 64))\n"
        "open('/proc/self/clear_refs', 'w').write('5'); before = peak('VmRSS'); {call}(w)\n"
        "print(peak('VmHWM') - before)"
    )
    found = {"matrix_bytes": matrix}
    for call in ("distance_sums", "geometric_median"):
        peaks = []
        for n, dim in shapes:
            command = [sys.executable, "-c", script.format(n=n, dim=dim, call=call)]
            peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        found[call] = round(max(peaks) / matrix, 2)
    return found


def whole_network(rounds: int) -> dict:
    """Compare `fl.score` of ResNet-152 with torch's bare distances; on one thread, as seconds of the processor are."""
    from torchvision.models import resnet152

    torch.manual_seed(0)
    model = resnet152().eval()
    graph = fl.trace(model, torch.zeros(1, 3, 64, 64))
    modules = dict(model.named_modules())
    weights = [m.weight.detach().flatten(1) for m in modules.values() if isinstance(m, nn.Conv2d)]
    best, scores = dict.fromkeys(("cdist", "score"), np.inf), {}
    for _ in range(rounds):
        took, _ = seconds(lambda: [torch.cdist(w, w).sum(1) for w in weights], time.process_time)
        best["cdist"] = min(best["cdist"], took)
        took, scores = seconds(lambda: fl.score(graph, "fpgm"), time.process_time)
        best["score"] = min(best["score"], took)
    first = {name: modules[group.producers[0]].weight.detach() for name, group in graph.items()}
    points = {name: weight.flatten(1).double().numpy() for name, weight in first.items()}
    same = [same_sets(scores[name].numpy(), cdist(v, v).sum(1)) for name, v in points.items()]
    return {
        "groups": len(graph),
        "with_the_same_sets": sum(same),
        "cdist_seconds": round(best["cdist"], 3),
        "score_seconds": round(best["score"], 3),
        "score_over_cdist": round(best["score"] / best["cdist"], 2),
    }


def many_groups(counts: tuple[int, ...] = (250, 500, 1000)) -> dict:
    """Return what tracing, scoring, a plan and its cost take of networks of very many groups of four channels."""
    table = []
    for count in counts:
        layers = [layer for _ in range(count) for layer in (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))]
        model = nn.Sequential(*layers, nn.Conv2d(4, 2, 1)).eval()
        steps = {}
        steps["trace"], graph = seconds(lambda m=model: fl.trace(m, torch.zeros(1, 4, 2, 2)), time.process_time)
        steps["score"], scores = seconds(lambda g=graph: fl.score(g, "fpgm"), time.process_time)
        steps["plan"], plan = seconds(lambda g=graph, s=scores: fl.Plan.uniform(g, s, 0.5), time.process_time)
        steps["cost"], _ = seconds(lambda g=graph, p=plan: g.cost(p), time.process_time)
        table.append({"groups": len(graph), **{step: round(took, 3) for step, took in steps.items()}})
    return {"seconds": table}


def layer_by_layer(rounds: int) -> dict:
    return {
        "resnet152": measure(resnet152_shapes(), rounds),
        "yolov5l": measure(yolov5l_shapes(), rounds),
        "trained": trained_layers(),
        "extra_memory_over_matrix": extra_memory(),
    }


def of_networks(rounds: int) -> dict:
    torch.set_num_threads(1)
    head = fl.studies.part("python tests/benchmarks/geometry.py --part network")
    return {"network": {**head, "resnet152": whole_network(rounds), "many_groups": many_groups()}}


PARTS = {"layers": layer_by_layer, "network": of_networks}


def stored() -> dict[str, object]:
    return json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=["all", *PARTS], default="all")
    options = parser.parse_args()
    head = fl.studies.record(
        "geometry",
        title="How fast scores of FPGM and exact medians are, against scipy",
        command="python tests/benchmarks/geometry.py",
    )
    result = head | {key: value for key, value in stored().items() if key not in head}
    for name, part in PARTS.items():
        if options.part in ("all", name):
            result |= part(options.rounds)
    text = json.dumps(result, indent=2)
    print(text)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""The time of a trace, against another version of this package, over timm's families; in one interleaved run.

    python tests/benchmarks/tracing.py --against PATH

PATH is a checkout of the other version. Each network is traced in turns by a process of either version, the least of
several runs counts; the result is written to ``data/results/tracing.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "data" / "results" / "tracing.json"
WORKER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import timm, torch, fpgmlab as fl
assert fl.__file__.startswith(sys.argv[1]), fl.__file__
model = x = None
for line in sys.stdin:
    name = json.loads(line)
    if name is not None:
        torch.manual_seed(0)
        pixels = 240 if name.startswith("crossvit") else 64
        try:
            model = timm.create_model(name, num_classes=7, img_size=pixels).eval()
        except TypeError:
            model = timm.create_model(name, num_classes=7).eval()
        x = torch.randn(1, 3, pixels, pixels)
        fl.trace(model, x)
        print(flush=True)
        continue
    start = time.perf_counter()
    fl.trace(model, x)
    print(time.perf_counter() - start, flush=True)
"""


def started(path: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", WORKER, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(worker: subprocess.Popen, what: str | None) -> str:
    worker.stdin.write(json.dumps(what) + "\n")
    worker.stdin.flush()
    return worker.stdout.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import fpgmlab as fl
    from tests.surgery.test_brought import TIMM

    workers = {"then": started(options.against.resolve()), "now": started(ROOT)}
    times: dict[str, dict[str, float]] = {}
    for name in TIMM:
        for worker in workers.values():
            ask(worker, name)
        runs = [{key: float(ask(worker, None)) for key, worker in workers.items()} for _ in range(options.runs)]
        times[name] = {key: min(run[key] for run in runs) for key in workers}
        print(f"{name:28} {1e3 * times[name]['then']:7.1f} {1e3 * times[name]['now']:7.1f} ms", flush=True)
    then, now = (np.array([each[key] for each in times.values()]) for key in ("then", "now"))
    result = {
        **fl.studies.record(
            "tracing",
            title="How long tracing takes, against the version before",
            command="python tests/benchmarks/tracing.py --against PATH",
            machine=fl.studies.machine(threads=1),
        ),
        "networks": len(times),
        "seconds then": round(float(then.sum()), 3),
        "seconds now": round(float(now.sum()), 3),
        "ratio of the sums": round(float(now.sum() / then.sum()), 3),
        "ratio of a network: median, 90th percentile": [
            round(float(q), 3) for q in np.quantile(now / then, (0.5, 0.9))
        ],
    }
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

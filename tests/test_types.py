"""Types that hold: a user's script is checked by mypy against the public names, and a wrong one is found out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RIGHT = '''
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric

import fpgmlab as fl
from fpgmlab.deployment import Runtime

task = fl.tasks.fashion_mnist()
model = fl.models.load("resnet20-fashion")
graph = fl.trace(model, task.example_input)
scores = fl.score(graph)
plan = fl.Plan.uniform(graph, scores, macs=0.5, multiple=8)


@dataclass(frozen=True)
class Peak(fl.criteria.Criterion):
    """With an option, and what a criterion may say of itself."""

    power: float = 1.0
    consumers: bool = True

    def scores(self, filters: Tensor) -> Tensor:
        return filters.abs().amax(dim=1) ** self.power


class Scales(fl.criteria.Criterion):
    kinds = frozenset({"batch_norm"})
    reduce = "mean"

    def scores(self, filters: Tensor) -> Tensor:
        return filters.square().sum(dim=1)


class Clipping(fl.Extra):
    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)


class Counting:
    """An extra without inheriting."""

    def loss(self, model: nn.Module, inputs: Tensor, outputs: object, targets: object) -> float:
        return 0.0

    def before_step(self, model: nn.Module, step: int, steps: int) -> None: ...

    def after_step(self, model: nn.Module, step: int, steps: int) -> None: ...


class Brightness:
    """A task without inheriting."""

    metric_name, higher_is_better = "mse", False

    def __init__(self, train: Tensor, val: Tensor) -> None:
        self.train, self.val = train, val

    def train_batches(self, batch_size: int = 128, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        return ((part, part.flatten(1).mean(dim=1)) for part in self.train.chunk(4))

    def val_batches(self, batch_size: int = 256, max_samples: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        return ((part, part.flatten(1).mean(dim=1)) for part in self.val[:max_samples].chunk(4))

    def loss(self, outputs: Any, targets: Any, reduction: str = "mean") -> Tensor:
        return nn.functional.mse_loss(outputs, targets, reduction=reduction)

    def metric(self) -> Metric:
        return MeanSquaredError()


class Immediately(Runtime):
    def ready(self, layer: nn.Module, example: Tensor, threads: int | None) -> Callable[[], object]:
        return lambda: layer(example)


for criterion in ("fpgm", Peak(2.0), Scales(), fl.criteria.FPGM(center="median")):
    print(fl.Plan.global_threshold(graph, fl.score(graph, criterion), 0.3, floor=0.1).frame(graph))
assert_type(plan, fl.Plan)
assert_type(plan.kept, dict[str, int])
assert_type(fl.Plan.from_json(plan.to_json()), fl.Plan)
cost: int = graph.cost(plan).macs
print(max(graph.macs_by_group(plan).values()) / cost, graph["conv1"].protected)
with fl.simulate(graph, plan) as masked:
    print(fl.evaluate(masked, task, max_samples=100)["loss"])
small = fl.prune(graph, plan)
assert_type(small, nn.Module)
fl.recalibrate(small, task)
history = fl.fit(small, task, epochs=2, extras=[Clipping(), Counting(), fl.Distill(teacher=model), fl.GammaL1(1e-4)])
print(history["loss"].min())
fl.fit(small, Brightness(torch.rand(8, 1, 8, 8), torch.rand(8, 1, 8, 8)), on_step=lambda at: print(at["loss"]))
curves = fl.sweep(graph, scores, task)
best = fl.allocate(graph, curves, latency=0.5, table=fl.latency_table(graph, runtime="torch"))
fl.save(fl.prune(graph, best), "small.safetensors", notes={"ratio": best.ratios})
report = fl.export_onnx(fl.load("small.safetensors"), task.example_input, "small.onnx")
print(f"{report.max_rel_error:.1e}")
parted = task.holdout(5000, seed=1).subset(train=100, test=100)
assert_type(parted, fl.tasks.Classification)
assert_type(fl.evaluate(small, parted, split="test"), dict[str, float])
assert_type(fl.tasks.folds(fl.tasks.trees(holdout=6), fl.tasks.tree_groups()), dict[str, fl.tasks.Detection])
network = fl.models.yolov5("s", classes=["cat", "dog"])
assert_type(network, fl.models.YOLOv5)
'''
WRONG = {
    'fl.score(graph, reduce=3)': "arg-type",
    'fl.score(graph, lambda filters: filters.norm(dim=1))': "arg-type",
    'fl.Plan.uniform(graph, scores, "half")': "arg-type",
    'fl.Plan.unifrom(graph, scores, 0.5)': "attr-defined",
    'fl.prune(graph, 0.5)': "arg-type",
    'fl.evaluate(model, object())': "arg-type",
    'fl.fit(model, task, extras=[model])': "list-item",
    'fl.fit(model, task, epoch=3)': "call-arg",
    'fl.prun(graph, plan)': "attr-defined",
    'graph.cost(plan).flops': "attr-defined",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """Return what mypy finds in both scripts: the kind of error by file and line."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text("\n".join([RIGHT.partition("\n\n\n")[0], *WRONG, ""]))
    run = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports",
            "--config-file=", f"--cache-dir={folder / 'cache'}", "right.py", "wrong.py",
        ],
        cwd=folder, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found = re.findall(r"^(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", run.stdout, re.MULTILINE)
    assert len(found) == len(re.findall(": error:", run.stdout)), run.stdout
    return {(file, int(line)): kind for file, line, kind in found}


@pytest.mark.slow
def test_a_users_script_has_no_errors(told: dict[tuple[str, int], str]):
    assert {at: kind for at, kind in told.items() if at[0] == "right"} == {}


@pytest.mark.slow
def test_what_is_wrong_is_found(told: dict[tuple[str, int], str]):
    kinds = [kind for (file, _), kind in sorted(told.items()) if file == "wrong"]
    assert kinds == list(WRONG.values())

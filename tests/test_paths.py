"""Something else in the place of a path, in every public function that takes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

import fpgmlab as fl
from fpgmlab.common import atomic_path
from tests.allocation.made import curves_of, rising
from tests.conftest import blobs
from tests.deployment.tables import made_up

torch.manual_seed(0)
MODEL = fl.models.build("resnet20", classes=3, channels=1, width=0.5).eval()
X = torch.zeros(1, 1, 12, 12)
TASK = fl.tasks.Classification(blobs(64), blobs(32, seed=1), classes=3)
GRAPH = fl.trace(MODEL, X)
SCORES = fl.score(GRAPH, "l1")
CURVES = curves_of(GRAPH, rising(GRAPH, 0))
PLAN = fl.Plan.uniform(GRAPH, CURVES.scores, 0.5, multiple=1)


def written(path: object) -> None:
    with atomic_path(path):  # type: ignore[arg-type]
        raise AssertionError


CALLS: dict[str, Callable[[object], object]] = {
    "Curves.load": fl.Curves.load,
    "Curves.save": CURVES.save,
    "LatencyTable.from_json": fl.LatencyTable.from_json,
    "LatencyTable.to_json": made_up(GRAPH).to_json,
    "Plan.from_json": fl.Plan.from_json,
    "Plan.to_json": PLAN.to_json,
    "benchmark": lambda path: fl.benchmark(path, X),
    "check_export": fl.check_export,
    "checkpoints.read_checkpoint": fl.checkpoints.read_checkpoint,
    "checkpoints.read_weights": fl.checkpoints.read_weights,
    "checkpoints.write_weights": lambda path: fl.checkpoints.write_weights(path, {}, {}),
    "common.atomic_path": written,
    "course.copy_notebooks": fl.course.copy_notebooks,
    "deployment.OnnxNetwork": fl.deployment.OnnxNetwork,
    "export_executorch": lambda path: fl.deployment.export_executorch(MODEL, X, path),
    "export_ncnn": lambda path: fl.deployment.export_ncnn(MODEL, X, path),
    "export_onnx": lambda path: fl.export_onnx(MODEL, X, path),
    "export_openvino": lambda path: fl.deployment.export_openvino(MODEL, X, path),
    "figures.paper": lambda path: fl.figures.paper(to=path),
    "figures.save_figure": lambda path: fl.figures.save_figure(Figure(), None, path),
    "fit": lambda path: fl.fit(MODEL, TASK, 1, checkpoint=path),
    "latency": lambda path: fl.latency(path, X),
    "latency_table": lambda path: fl.latency_table(GRAPH, path=path),
    "load": fl.load,
    "models.yolov5": lambda path: fl.models.yolov5("n", path),
    "prune_gradually": lambda path: fl.prune_gradually(MODEL, TASK, target={"macs": 0.5}, path=path),
    "quantize": lambda path: fl.quantize(path, TASK, "a.onnx"),
    "repair": lambda path: fl.repair(GRAPH, PLAN, TASK, path=path),
    "runs.read_run": fl.runs.read_run,
    "runs.write_run": lambda path: fl.runs.write_run(path, model="resnet20-fashion", task="fashion_mnist"),
    "save": lambda path: fl.save(MODEL, path),
    "sweep": lambda path: fl.sweep(GRAPH, SCORES, TASK, path=path),
    "tasks.coco_boxes": lambda path: fl.tasks.coco_boxes(path),
    "tasks.image_folder": lambda path: fl.tasks.image_folder(path),
    "tasks.yolo_boxes": lambda path: fl.tasks.yolo_boxes(path, "train"),
    "widgets.PlanEditor": lambda path: fl.widgets.PlanEditor(GRAPH, CURVES, TASK, path=path),
    "widgets.SweepPanel": lambda path: fl.widgets.SweepPanel(GRAPH, SCORES, TASK, path=path),
}


def takers() -> Iterator[str]:
    """Yield the public functions and methods with an argument that may be a path, each once."""
    seen: set[object] = set()
    rooms = [(name, getattr(fl, name)) for name in fl.__all__]
    inner = [(f"{room}.{name}", getattr(part, name)) for room, part in rooms if inspect.ismodule(part)
             for name in getattr(part, "__all__", ())]  # fmt: skip
    for name, found in [*rooms, *inner]:
        if inspect.isclass(found):
            methods = [key for key in vars(found) if key == "__init__" or not key.startswith("_")]
            each = [(f"{name}.{key}".removesuffix(".__init__"), getattr(found, key)) for key in methods]
        else:
            each = [(name, found)]
        for called, function in each:
            plain = getattr(function, "__func__", function)
            if not (inspect.isfunction(plain) and plain not in seen):
                continue
            seen.add(plain)
            if any("PathLike" in str(given.annotation) for given in inspect.signature(plain).parameters.values()):
                yield called


def test_every_function_that_takes_a_path_is_here():
    assert {name.rpartition(".")[2] for name in takers()} <= {name.rpartition(".")[2] for name in CALLS}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [MODEL, 3])
def test_what_is_no_path_is_told_and_nothing_is_written(
    name: str, wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    told = "3" if wrong == 3 else r"the network \(ResNet\)"
    with pytest.raises(TypeError, match=f"^[a-z_]+ must be .*; got {told}"):
        CALLS[name](wrong)
    assert not list(tmp_path.iterdir())

"""The code of README.md runs as it is printed, from top to bottom; on fewer pictures, smaller ones, in fewer epochs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
import torch
from ipywidgets import Widget
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

import fpgmlab as fl
from fpgmlab.runs.command import main
from tests.models.yolov5.made import official
from tests.notebooks.running import SMALL
from tests.tasks.test_folder import pictures

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SCREEN, EDITOR, STOPPED, SPREAD, SLURM, OWN, DETECTOR = BLOCKS
# Of so few pictures a training may well learn nothing, which it says.
pytestmark = [
    pytest.mark.filterwarnings("ignore:no epoch was as good as the weights"),
    pytest.mark.filterwarnings("ignore:at none of the"),  # nor can curves be told from noise
]


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A task of few pictures, an empty folder to write to; panels are closed."""
    whole = fl.tasks.fashion_mnist

    def few(holdout: int | None = None) -> fl.tasks.Classification:
        return whole(holdout).subset(train=640, val=128, test=None if holdout is None else 128)

    monkeypatch.setattr(fl.tasks, "fashion_mnist", few)
    monkeypatch.chdir(tmp_path)
    yield
    Widget.close_all()


@pytest.mark.slow
@pytest.mark.usefixtures("_few")
def test_the_api_in_one_screen_the_plan_editor_and_a_sweep_that_goes_on():
    names: dict[str, object] = {}
    for block in (SCREEN, EDITOR, STOPPED):
        exec(block, names)
    for file in ("plan.json", "small.safetensors", "small-int8.onnx", "small.xml", "fig1.pdf", "curves.parquet"):
        assert Path(file).stat().st_size > 0, file
    assert list(Path("figures").glob("*.pdf"))
    assert names["curves"].complete


@pytest.mark.slow
def test_a_sweep_spread_over_processes_is_a_script(tmp_path: Path):
    (tmp_path / "spread.py").write_text(SPREAD.replace("n_workers=4", "n_workers=2").replace("2560", "64"))
    subprocess.run(
        [sys.executable, "spread.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=300
    )
    assert fl.Curves.load(tmp_path / "outputs" / "spread").frame["samples"].max() == 64


def test_jobs_of_slurm_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\ncat "$@" >> {tmp_path}/jobs\necho Submitted batch job 7\n')
    (tmp_path / "scancel").write_text("#!/bin/sh\n")
    for command in ("sbatch", "scancel"):
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    names: dict[str, object] = {}
    exec(SLURM, names)
    asked = 0
    for _ in range(600):  # they are asked for one by one
        asked = (tmp_path / "jobs").read_text().count("#SBATCH --gres=gpu:1") if (tmp_path / "jobs").exists() else 0
        if asked == 8:
            break
        time.sleep(0.1)
    names["cluster"].close()
    assert asked == 8


@pytest.mark.slow
@pytest.mark.usefixtures("_few")
def test_a_run_without_a_notebook():
    (file,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    Path("run.toml").write_text(file)
    lines = re.findall(r"^python -m fpgmlab (\w+ run\.toml[^#\n]*)", PAGE, re.MULTILINE)
    few = [part for key in ("train=640", "val=128", "test=128") for part in ("--set", f"task.subset.{key}")]
    assert len(lines) == 3
    for line in lines:
        assert main([*line.split(), *few, "--quiet"]) == 0, line
    assert json.loads(Path("outputs/run/result.json").read_text())["networks"][-1]["macs"] > 0
    assert Path("outputs/short/result.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("_few")
def test_a_network_of_torchvision_and_a_folder_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pictures(tmp_path / "pictures", **{".": 20})
    monkeypatch.setattr("torchvision.models.resnet18", Narrow)  # untrained: nothing is fetched
    names: dict[str, object] = {}
    exec(OWN.replace("224", "64"), names)
    task, small, graph, plan = (names[name] for name in ("task", "small", "graph", "plan"))
    assert task.classes == ("blue", "red")
    assert sum(p.numel() for p in small.parameters()) == graph.cost(plan).params
    assert graph.cost(plan).macs <= 0.5 * graph.cost().macs
    assert [len(data) for data in (task.train, task.val)] == [32, 8]
    (found,) = onnxruntime.InferenceSession("small.onnx").run(None, {"input": task.example_input.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), small(task.example_input), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("_few")
def test_a_detector_of_ones_own(tmp_path: Path):
    write_trees(tmp_path)
    names: dict[str, object] = {"fl": fl}
    exec(DETECTOR.replace("640", "224").replace("task, 50,", "task, 2,"), names)
    assert names["graph"].cost(names["plan"]).params == sum(p.numel() for p in names["small"].parameters())
    assert Path("small.onnx").stat().st_size > 0


@pytest.mark.slow
def test_a_detector_of_ones_own_in_one_command(tmp_path: Path):
    write_trees(tmp_path / "path" / "to")
    (line,) = re.findall(r"^python (notebooks/run.py 07_yolov5 -p weights .*)$", PAGE, re.MULTILINE)
    command = [sys.executable, *f"{ROOT}/{line.replace('640', '224')}".split(), "-p", "output", "mine"]
    few = {name: value for name, value in SMALL["07_yolov5"].items() if name != "size"}
    options = [part for name, value in few.items() for part in ("-p", name, json.dumps(value))]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    *notes, last = done.stdout.splitlines()
    assert "pictures to judge by" in notes[-1]
    assert re.fullmatch(rf"map50 on .* of the MACs gone, .* points (lost|won); files in {tmp_path}/mine; \d+ s", last)
    report = json.loads((tmp_path / "mine" / "report.json").read_text())
    assert report["model"] == "path/to/best.pt"
    assert report["macs"] <= 0.75
    assert (tmp_path / "mine" / "pruned_decoded.onnx").is_file()


class Narrow(ResNet):
    """A ResNet-18 with an eighth of its channels behind the first layer: its repair takes no time."""

    def __init__(self, weights: object = None, num_classes: int = 1000) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(64, num_classes)

    def _make_layer(self, block: type[BasicBlock], planes: int, *options: object, **more: object) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *options, **more)


def write_trees(folder: Path) -> None:
    """Write some tiles in YOLO's layout, and the network that ships as YOLOv5 writes it."""
    task = fl.tasks.trees()
    for split, data, count in (("train", task.train, 5), ("val", task.val, 3)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for file, (width, height), boxes in zip(data.paths[:count], data.sizes, data.boxes, strict=False):
            shutil.copy(file, folder / "images" / split)
            left, top, right, bottom = (boxes / torch.tensor([width, height] * 2)).unbind(1)
            rows = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=1).tolist()
            lines = [" ".join(map(str, (0, *row))) for row in rows]
            (folder / "labels" / split / f"{file.stem}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [tree]\n")
    torch.save(official(fl.models.load("yolov5n-trees"), ("tree",)), folder / "best.pt")

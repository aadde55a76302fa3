"""The chapter on detectors runs, on what ships and on a reader's own ``.pt`` and ``data.yaml``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import fpgmlab as fl
from tests.models.yolov5.made import official
from tests.notebooks.running import check_every_cell_ran, check_figures

FIGURES = ("unpruned", "gammas", "filters", "sensitivity", "desk", "recovery", "before_after")


@pytest.fixture(scope="module")
def shipped(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("shipped")
    run("07_yolov5", output)
    return output


@pytest.fixture(scope="module")
def own(run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What someone has who trained a YOLOv5: a checkpoint and a data set in YOLO's layout, with names of their own."""
    folder = tmp_path_factory.mktemp("own")
    torch.save(official(fl.models.load("yolov5n-trees"), names=["crown"]), folder / "best.pt")
    task = fl.tasks.trees()
    for split, data in (("train", task.train), ("val", task.val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(5):
            image, boxes, _ = data[number]
            side = torch.tensor([image.shape[2], image.shape[1]])
            rows = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2 / side, (boxes[:, 2:] - boxes[:, :2]) / side], dim=1)
            lines = "".join(f"0 {' '.join(f'{value:.6f}' for value in row)}\n" for row in rows.tolist())
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(lines)
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: crown\n")
    run("07_yolov5", folder / "out", size=128, weights=str(folder / "best.pt"), data=str(folder / "data.yaml"))
    return folder / "out"


@pytest.mark.parametrize("which", ["shipped", pytest.param("own", marks=pytest.mark.slow)])
def test_every_cell_ran_and_left_its_figures(which: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(which)
    check_every_cell_ran(folder / "07_yolov5.ipynb", pictures=len(FIGURES), widgets=1)
    check_figures(folder, FIGURES)


@pytest.mark.parametrize("which", ["shipped", pytest.param("own", marks=pytest.mark.slow)])
def test_the_result_is_a_smaller_onnx_model_that_answers_as_the_network(which: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(which)
    report = json.loads((folder / "report.json").read_text())
    assert report["macs"] <= 0.75
    sizes = {name: (folder / f"{name}.onnx").stat().st_size for name in ("unpruned", "pruned")}
    assert sizes["pruned"] < 0.85 * sizes["unpruned"]
    assert fl.Plan.from_json(folder / "plan.json").kept == report["kept"]
    small = fl.load(folder / "small.safetensors")
    weights = sum(np.prod(w.dims) for w in onnx.load(folder / "pruned.onnx").graph.initializer)
    assert weights == pytest.approx(sum(p.numel() for p in small.parameters()), rel=0.03)
    picture = torch.rand(1, 3, *[report["size"]] * 2, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(folder / "pruned_decoded.onnx", providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: picture.numpy()})
    with torch.no_grad():
        ours = fl.models.boxes.Decoded(small)(picture)
    np.testing.assert_allclose(answers, ours.numpy(), rtol=1e-3, atol=1e-3)
    assert small.names == (("tree",) if which == "shipped" else ("crown",))


def test_the_unpruned_network_finds_trees(shipped: Path):
    found = json.loads((shipped / "report.json").read_text())["map50"]
    assert found["unpruned"] > 0.2  # at about half of the size
    assert found["unpruned"] > found["pruned"]


def test_the_last_words_are_of_the_numbers_and_warn_of_so_few_pictures(shipped: Path):
    report = json.loads((shipped / "report.json").read_text())
    line, *notes = report["summary"].splitlines()
    assert line.startswith(f"map50 on 10 pictures: unpruned {report['map50']['unpruned']:.1%}, pruned ")
    assert any("10 pictures to judge by" in note for note in notes)


def test_repair_without_labels_brings_most_of_it_back_whatever_the_plan(shipped: Path):
    report = json.loads((shipped / "report.json").read_text())
    assert set(report["map50"]) == {"unpruned", "pruned", "repaired", "recovered"}
    plans = pd.DataFrame(report["plans"]).set_index("plan")
    assert (plans["map50 repaired"] > 0.7 * report["map50"]["unpruned"]).all()
    assert (plans["map50 as cut"].drop(["allocated", "on the desk"]) < 0.1).all()

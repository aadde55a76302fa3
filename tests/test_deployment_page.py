"""What DEPLOYMENT.md tells of a detector's file, executed, beside what the library finds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.models.boxes import Decoded, detect, letterbox, suppress, to_input
from tests.checks import calibrate
from tests.networks import busy

PAGE = (Path(__file__).resolve().parent.parent / "DEPLOYMENT.md").read_text()
(SNIPPET,) = re.findall(r"^## A detector's file$.+?^```python\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SIZE = 160


def found_by_the_page(model: nn.Module, picture: np.ndarray, folder: Path) -> dict[str, Tensor]:
    """Return what the page's code finds in a picture with a model's file."""
    fl.export_onnx(Decoded(model), torch.rand(1, 3, SIZE, SIZE), folder / "small.onnx", exporter="torchscript")
    Image.fromarray(picture).save(folder / "picture.jpg", format="PNG")  # nothing is lost
    names: dict[str, object] = {}
    exec(SNIPPET, names)
    return {name: torch.as_tensor(np.asarray(names[name])) for name in ("boxes", "scores", "labels")}


def check_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], atol: float) -> None:
    assert 4 < len(theirs["boxes"]) < 300  # as many as `suppress` leaves
    assert ours["labels"].tolist() == theirs["labels"].tolist()
    torch.testing.assert_close(ours["boxes"], theirs["boxes"].double(), rtol=0, atol=atol)
    torch.testing.assert_close(ours["scores"], theirs["scores"].double(), rtol=0, atol=1e-3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model() -> nn.Module:
    """A detector of three classes that is sure of many boxes, some on top of others."""
    torch.manual_seed(0)
    made = busy(fl.models.yolov5("n", classes=3, width=0.25)).eval()
    calibrate(made, torch.rand(4, 3, SIZE, SIZE))
    for level in made.model[-1].m:
        nn.init.normal_(level.weight, 0, 0.3)
        nn.init.zeros_(level.bias)
        level.bias.detach().unflatten(0, (3, -1))[:, 4] = -0.7  # of hundreds of boxes some dozens are sure
    return made


def test_boxes_are_those_of_detect(model: nn.Module, folder: Path):
    picture = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    wanted = detect(model, picture, SIZE)
    assert set(wanted["labels"].tolist()) == {0, 1, 2}
    everything = suppress(Decoded(model)(to_input([picture])), iou=1.0)[0]
    assert len(wanted["boxes"]) < len(everything["boxes"])  # something overlaps
    check_same(found_by_the_page(model, picture, folder), wanted, atol=1e-2)


@pytest.mark.parametrize("shape", [(100, SIZE), (SIZE, 91), (100, 300), (211, 90)])
def test_boxes_lie_in_the_picture_as_it_is(model: nn.Module, folder: Path, shape: tuple[int, int]):
    small = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    picture = np.asarray(Image.fromarray(small).resize(shape[::-1]))
    square, placement = letterbox(picture, SIZE, square=True)
    with torch.no_grad():
        (wanted,) = suppress(Decoded(model)(to_input([square])))
    wanted["boxes"] = placement.restore(wanted["boxes"])
    found = found_by_the_page(model, picture, folder)
    if max(shape) == SIZE:
        check_same(found, wanted, atol=1e-2)
        return
    # Pillow and torch scale to the same pixels but for rounding: boxes of nearly one score may change places.
    sure = wanted["scores"] > 0.3
    apart = torch.cdist(wanted["boxes"][sure].double(), found["boxes"], p=torch.inf)  # pixels of the picture
    apart[wanted["labels"][sure][:, None] != found["labels"]] = torch.inf
    assert len(apart) > 4
    assert float((apart.amin(1) < 0.1).double().mean()) > 0.8


def test_trees_are_found(folder: Path):
    """One class, whose probability is not trained."""
    model = fl.models.load("yolov5n-trees").eval()
    task = fl.tasks.trees()
    picture = np.asarray(Image.open(task.val.paths[0]).convert("RGB"))[:SIZE, :SIZE]
    check_same(found_by_the_page(model, picture, folder), detect(model, picture, SIZE), atol=1e-2)

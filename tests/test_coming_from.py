"""What COMING_FROM.md tells those with a detector of their own, executed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from tests.foreign import surroundings_kept
from tests.models.yolov5.made import official
from tests.tasks.detection.made import write_squares

with surroundings_kept():
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

PAGE = (Path(__file__).resolve().parent.parent / "COMING_FROM.md").read_text()
SECTIONS = dict(re.findall(r"^### (.+?)\n(.+?)(?=^##|\Z)", PAGE.split("\n## Detectors\n")[1], re.MULTILINE | re.DOTALL))


def blocks(text: str) -> list[str]:
    """Return the Python of a text; pictures of 64 pixels in place of 416."""
    return [code.replace("416", "64") for code in re.findall(r"```python\n(.+?)```", text, re.DOTALL)]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return what the page's code finds: a folder with data and files of networks, and `fl`."""
    write_squares(tmp_path)
    shutil.copy(tmp_path / "images" / "0.png", tmp_path / "picture.png")
    torch.save(official(fl.models.yolov5("n", classes=2), ["green", "red"]), tmp_path / "yolov5.pt")
    yolo = YOLO("yolov8n.yaml", verbose=False)
    yolo.model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    yolo.save(tmp_path / "yolov8.pt")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {"fl": fl}
    (data,) = blocks(PAGE.split("\n## Detectors\n")[1].split("\n### ")[0])
    exec(data, found)
    return found


def test_what_all_sections_begin_with():
    names: dict[str, object] = {}
    (code,) = blocks(PAGE.split("\n## ")[0])
    exec(code, names)
    assert list(names["scores"]) == list(names["graph"])
    assert names["graph"]["fc"].protected


def test_every_section_has_code():
    assert len(SECTIONS) == 4
    assert all(len(blocks(text)) == 1 for text in SECTIONS.values())


@pytest.mark.parametrize("title", SECTIONS)
def test_detectors(title: str, names: dict[str, object]):
    exec(blocks(SECTIONS[title])[0], names)
    graph = names["graph"]
    assert sum(group.protected is None for group in graph.values()) > 20
    if "small" in names:
        before, after = (sum(p.numel() for p in model.parameters()) for model in (graph.model, names["small"]))
        assert after < 0.9 * before
    if "ultralytics" in title:
        again = YOLO("small.pt")
        assert sum(p.numel() for p in again.model.parameters()) == after

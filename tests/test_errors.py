"""Words for errors: they tell what was passed and what would do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import fpgmlab as fl
from fpgmlab.errors import few, one_of, unknown


def test_one_of_tells_all_that_would_do():
    assert one_of("by", "column", ("network", "layer")) == "by must be one of 'network', 'layer'; not 'column'"
    assert one_of("distance", 0.5, ["l1"], "a number >= 1") == (
        "distance must be one of 'l1' or a number >= 1; not 0.5"
    )


def test_unknown_guesses_what_was_meant():
    assert unknown("criterion", "fpmg", ["fpgm", "l1"]) == (
        "unknown criterion 'fpmg': did you mean 'fpgm'? There are: 'fpgm', 'l1'"
    )
    assert unknown("group", "x", []) == "unknown group 'x': There are: none"
    assert unknown("group", 5, map(str, range(10, 30))).endswith("'21', ... (20 in all)")


def test_many_names_are_counted():
    assert few([]) == ""
    assert few(f"layer{i}" for i in range(5)) == "'layer0', 'layer1', 'layer2', 'layer3', 'layer4'"
    assert few((f"layer{i}" for i in range(41)), 2, quoted=False) == "layer0, layer1 and 39 more"


@pytest.mark.parametrize(
    "read",
    [
        lambda path: fl.tasks.yolo_boxes(path, "train"),
        fl.tasks.coco_boxes,
        fl.tasks.image_folder,
        lambda path: fl.models.yolov5(weights=path),
        fl.load,
        fl.Plan.from_json,
        fl.Curves.load,
        fl.LatencyTable.from_json,
        lambda path: fl.paper(path, "cvpr", "figures"),
    ],
)
def test_what_is_not_there_is_told_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[str], object]
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}{os.sep}mine{os.sep}none"):
        read("mine/none")

"""Data sets in COCO's JSON, written by hand, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fpgmlab.tasks import coco_boxes
from tests.tasks.detection.made import draw


def coco_file(folder: Path, boxes: list[dict], **more: object) -> Path:
    draw(folder / "pictures" / "a.png")
    draw(folder / "pictures" / "b.png", (21, 50))
    images = [
        {"id": 7, "file_name": "pictures/a.png", "width": 40, "height": 30},
        {"id": 3, "file_name": "pictures/b.png", "width": 21, "height": 50},
    ]
    categories = [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}]
    path = folder / "boxes.json"
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": boxes} | more))
    return path


def box(image: int, category: int, bbox: list[float], number: int = 1, **more: object) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}


def test_coco_boxes_of_each_picture(tmp_path: Path):
    data = coco_boxes(coco_file(tmp_path, [box(7, 9, [1, 2, 10, 20]), box(7, 2, [0, 0, 40, 30], 2)]))
    assert data.classes == ("cat", "dog")
    assert len(data) == 2
    image, boxes, labels = data[0]
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 30, 40))
    with Image.open(tmp_path / "pictures" / "a.png") as picture:
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.array(picture))
    assert boxes.tolist() == [[1, 2, 11, 22], [0, 0, 40, 30]]
    assert labels.tolist() == [1, 0]
    image, boxes, labels = data[1]  # background
    assert (tuple(image.shape), tuple(boxes.shape), tuple(labels.shape)) == ((3, 50, 21), (0, 4), (0,))


def test_coco_with_pictures_elsewhere(tmp_path: Path):
    path = coco_file(tmp_path, [])
    moved = tmp_path / "other" / "boxes.json"
    moved.parent.mkdir()
    path.rename(moved)
    with pytest.raises(FileNotFoundError, match=r"image 7: no picture .*a\.png.*Pass images="):
        coco_boxes(moved)
    assert len(coco_boxes(moved, tmp_path)) == 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            box(7, 9, [0, 0, 5, 5]) | {"category_id": 1},
            r"annotation 1: there is no category with the id 1; .* 2, 9",
        ),
        (box(8, 9, [0, 0, 5, 5]), "annotation 1: there is no image with the id 8"),
        (box(7, 9, [0, 0, 5]), "annotation 1: it must have bbox as"),
        ({"id": 4, "image_id": 7}, "annotation 4: it must have bbox as"),
        (box(7, 9, [0, float("nan"), 5, 5]), r"annotation 1: the box .* must be four finite numbers"),
        ({"id": 5, "image_id": 7, "bbox": [0, 0, 5, 5]}, "annotation 5: it must have the ids category_id and image_id"),
        (box(7, 9, [0, 0, 5, 5]) | {"category_id": [9]}, r"category_id and image_id; got \[9\] and 7"),
        (box("7", 9, [0, 0, 5, 5]), "there is no image with the id '7'"),
    ],
)
def test_a_bad_annotation_is_named(tmp_path: Path, bad: dict, said: str):
    with pytest.raises(ValueError, match=said):
        coco_boxes(coco_file(tmp_path, [bad]))


def test_boxes_that_are_wrong_are_counted(tmp_path: Path):
    boxes = [box(7, 9, [-5, 10, 10, 50], 1), box(7, 9, [35, 0, 10, 5], 2)]  # two reach beyond
    boxes += [box(7, 9, [50, 50, 5, 5], 3), box(7, 9, [5, 5, 0, 9], 4)]  # outside; no width
    boxes += [box(3, 2, [1, 1, 5, 5], 5), box(3, 2, [1, 1, 5, 5], 6), box(3, 9, [1, 1, 5, 5], 7)]  # one twice
    with pytest.warns(UserWarning, match="the first: ") as caught:
        data = coco_boxes(coco_file(tmp_path, boxes))
    said = sorted(str(warning.message) for warning in caught)
    assert len(said) == 3
    assert "1 boxes were there twice" in said[0]
    assert "annotation 6" in said[0]
    assert "2 boxes of no size or outside" in said[1]
    assert "annotation 3" in said[1]
    assert "2 boxes reached beyond" in said[2]
    assert "annotation 1" in said[2]
    assert data[0][1].tolist() == [[0, 10, 5, 30], [35, 0, 40, 5]]
    assert data[1][2].tolist() == [0, 1]


def test_crowds_have_labels_of_their_own(tmp_path: Path):
    boxes = [
        box(7, 9, [1, 1, 9, 9], iscrowd=1),
        box(7, 9, [1, 1, 9, 9], 2, iscrowd=0),
        box(7, 2, [2, 2, 5, 5], 3, iscrowd=1),
    ]
    data = coco_boxes(coco_file(tmp_path, boxes))
    assert data.classes == ("cat", "dog")
    assert data[0][2].tolist() == [-3, 1, -2]
    assert data[0][1].tolist() == [[1, 1, 10, 10], [1, 1, 10, 10], [2, 2, 7, 7]]


@pytest.mark.parametrize(
    ("table", "rows", "said"),
    [
        ("categories", None, "'categories' is missing"),
        ("categories", {"9": "dog"}, "'categories' must be a list; it is a dict"),
        ("categories", ["dog"], r"categories\[0\] must be an object with id and name; got 'dog'"),
        ("categories", [{"id": 9}], r"categories\[0\] must be an object with id and name; got \{'id': 9\}"),
        ("categories", [{"id": 9, "name": "a"}, {"id": 9, "name": "b"}], "categories has the id 9 more than once"),
        ("categories", [{"id": [9], "name": "a"}], r"categories\[0\]: id must be a number or text; got \[9\]"),
        ("images", [{"file_name": "a.png"}], r"images\[0\] must be an object with id; got"),
        ("images", [{"id": 7}, {"id": 7}], "images has the id 7 more than once"),
        ("images", [{"id": 7, "file_name": "pictures/a.png"}], r"image 7 must have file_name, width and height"),
        ("images", [{"id": 7, "file_name": "pictures/a.png", "width": 0, "height": 9}], "must be > 0; got 0 x 9"),
        ("annotations", ["box"], r"annotations\[0\] must be an object; got 'box'"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, table: str, rows: object, said: str):
    with pytest.raises(ValueError, match=said):
        coco_boxes(coco_file(tmp_path, [], **{table: rows}))


def test_other_files_are_not_coco(tmp_path: Path):
    path = tmp_path / "boxes.json"
    with pytest.raises(FileNotFoundError, match="no file"):
        coco_boxes(path)
    with pytest.raises(FileNotFoundError, match="is a folder with no JSON in it; expected a file of annotations"):
        coco_boxes(tmp_path)
    path.write_text("{")
    with pytest.raises(FileNotFoundError, match=r"is a folder with 'boxes\.json'; expected a file of annotations"):
        coco_boxes(tmp_path)
    for text, said in (("{", "is no JSON"), ("[]", "'images' is missing"), ('{"images": []}', "'annotations' is miss")):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            coco_boxes(path)
    for text, said in (
        (b'{"images": [\n{"id": 1,}]}', r"is no JSON: .* line 2 column"),
        (b"[" * 100_000, "is no JSON: maximum recursion"),
        ('{"a": "\xe9"}'.encode("latin1"), "is no text in UTF-8"),
    ):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=said):
            coco_boxes(path)
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match="no pictures"):
        coco_boxes(path)


def test_a_picture_of_another_size_is_named(tmp_path: Path):
    data = coco_boxes(coco_file(tmp_path, []))
    draw(tmp_path / "pictures" / "a.png", (30, 40))
    with pytest.raises(ValueError, match=r"a\.png' has 30 x 40 pixels, but .*boxes\.json was made for 40 x 30"):
        data[0]


def test_damaged_pictures_are_named_at_load(tmp_path: Path):
    path = coco_file(tmp_path, [])
    bad = tmp_path / "pictures" / "a.png"
    bad.write_bytes(bad.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"1 of 2 pictures cannot be read; restore .*\n  '.*a\.png'"):
        coco_boxes(path, progress=False)
    assert len(coco_boxes(path, check=False)) == 2

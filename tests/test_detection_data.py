"""Pictures with boxes read from files: written by hand, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fpgmlab as fl
from fpgmlab.tasks import coco_boxes, yolo_boxes


def draw(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path, **options)
    return path


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


def yolo_folder(root: Path, labels: dict[str, str], yaml: str = "names: [cat, dog]\ntrain: images/train\n") -> Path:
    for name, text in labels.items():
        draw(root / "images" / "train" / f"{name}.png")
        (root / "labels" / "train").mkdir(parents=True, exist_ok=True)
        (root / "labels" / "train" / f"{name}.txt").write_text(text)
    path = root / "data.yaml"
    path.write_text(yaml)
    return path


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
        (box(7, 9, [0, 0, 5, 5]) | {"category_id": 1}, r"annotation 1: there is no category with the id 1; .*\[2, 9\]"),
        (box(8, 9, [0, 0, 5, 5]), "annotation 1: there is no image with the id 8"),
        (box(7, 9, [0, 0, 5]), "annotation 1: it must have image_id, category_id and bbox"),
        ({"id": 4, "image_id": 7}, "annotation 4: it must have image_id"),
        (box(7, 9, [0, float("nan"), 5, 5]), r"annotation 1: the box .* must be four finite numbers"),
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


def test_crowds_are_left_out(tmp_path: Path):
    path = coco_file(tmp_path, [box(7, 9, [1, 1, 9, 9], iscrowd=1), box(7, 9, [2, 2, 9, 9], 2, iscrowd=0)])
    with pytest.warns(UserWarning, match="1 regions marked iscrowd were left out"):
        assert len(coco_boxes(path)[0][1]) == 1


def test_other_files_are_not_coco(tmp_path: Path):
    path = tmp_path / "boxes.json"
    with pytest.raises(FileNotFoundError, match="no file"):
        coco_boxes(path)
    for text, said in (("{", "is no JSON"), ("[]", "'images' is missing"), ('{"images": []}', "'annotations' is miss")):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            coco_boxes(path)
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match="no pictures"):
        coco_boxes(path)


def test_yolo_boxes_of_each_picture(tmp_path: Path):
    polygon = "1 0.1 0.2 0.5 0.2 0.5 0.6 0.2 0.9\n"
    path = yolo_folder(tmp_path, {"a": "0 0.5 0.5 0.5 0.2\n\n" + polygon, "b": ""})
    draw(tmp_path / "images" / "train" / "deeper" / "c.png")  # no label file: background, as an empty one
    data = yolo_boxes(path, "train")
    assert data.classes == ("cat", "dog")
    assert [len(data[i][1]) for i in range(3)] == [2, 0, 0]
    torch.testing.assert_close(data[0][1], torch.tensor([[10.0, 12, 30, 18], [4, 6, 20, 27]]))
    assert data[0][2].tolist() == [0, 1]


@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}"])
def test_yolo_lists_and_folders(tmp_path: Path, names: str):
    yolo_folder(tmp_path / "set", {"a": "1 0.5 0.5 0.5 0.2", "b": "0 0.5 0.5 0.5 0.2"})
    (tmp_path / "set" / "some.txt").write_text("images/train/b.png\n\n./images/train/a.png\n")
    path = tmp_path / "data.yaml"
    path.write_text(f"path: set\nnc: 2\nnames: {names}\ntrain: some.txt\nval: [images/train, some.txt]\n")
    data = yolo_boxes(path, "train")
    assert [labels.tolist() for _, _, labels in (data[0], data[1])] == [[0], [1]]
    assert data.classes == ("cat", "dog")
    assert len(yolo_boxes(path, "val")) == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.1 0.1", "class number 2 does not exist; with 2 classes it must be 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class number -1 does not exist"),
        ("0 0.5 0.5 0.1", "must be a whole class number and x y width height"),
        ("0.5 0.5 0.5 0.1 0.1", "must be a whole class number"),
        ("nan 0.5 0.5 0.1 0.1", "must be a whole class number"),
        ("cat 0.5 0.5 0.1 0.1", "must be numbers only"),
        ("0 20 15 4 4", "looks like pixels"),
        ("0 nan 0.5 0.1 0.1", "must be four finite numbers"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str):
    path = yolo_folder(tmp_path, {"a": f"0 0.5 0.5 0.1 0.1\n{line}\n"})
    with pytest.raises(ValueError, match=rf"a\.txt, line 2: .*{said}"):
        yolo_boxes(path, "train")


def test_yolo_boxes_beyond_the_picture_are_clipped(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": "0 0.0 0.5 0.5 0.2\n"})
    with pytest.warns(UserWarning, match=r"1 boxes reached beyond their picture and were clipped; .*a\.txt, line 1"):
        data = yolo_boxes(path, "train")
    torch.testing.assert_close(data[0][1], torch.tensor([[0.0, 12, 10, 18]]))


@pytest.mark.parametrize(
    ("yaml", "error", "said"),
    [
        (
            "names: [a]\ntrain: nowhere\n",
            FileNotFoundError,
            r"yaml: train: 'nowhere': neither a folder nor a list",
        ),
        ("names: [a]\ntrain: list.txt\n", FileNotFoundError, r"list\.txt, line 2: no picture"),
        ("names: [a]\ntrain: empty\n", FileNotFoundError, "no pictures in"),
        ("names: [a]\ntrain: bare\n", FileNotFoundError, "none of 1 pictures has a label file; expected .*p.txt"),
        ("names: [a]\nval: images/train\n", ValueError, "no entry 'train'; there are .*'names', 'val'"),
        ("names: [a]\nnc: 2\ntrain: images/train\n", ValueError, "nc is 2, but there are 1 names"),
        ("names: {1: a}\ntrain: images/train\n", ValueError, "names must be numbered 0 to 0"),
        ("names: a\ntrain: images/train\n", ValueError, "names must be a list"),
        ("train: images/train\n", ValueError, "is no data.yaml"),
        ("names: [a\n", ValueError, "is no YAML"),
    ],
)
def test_a_bad_data_yaml_is_named(tmp_path: Path, yaml: str, error: type, said: str):
    path = yolo_folder(tmp_path, {"a": ""}, yaml)
    (tmp_path / "list.txt").write_text("images/train/a.png\nimages/train/z.png\n")
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "bare" / "p.png")
    with pytest.raises(error, match=said):
        yolo_boxes(path, "train")
    with pytest.raises(FileNotFoundError, match="no file"):
        yolo_boxes(tmp_path / "other.yaml", "train")


def test_pictures_of_all_kinds(tmp_path: Path):
    labels = "0 0.5 0.5 0.5 0.5"
    path = yolo_folder(tmp_path, {name: labels for name in ("a", "grey", "clear", "palette", "deep")})
    folder = tmp_path / "images" / "train"
    draw(folder / "grey.png", (41, 3), "L")
    draw(folder / "palette.png", mode="P")
    Image.new("RGBA", (8, 6), (255, 0, 0, 0)).save(folder / "clear.png")
    Image.fromarray(np.full((6, 8), 65535, np.uint16)).save(folder / "deep.png")
    exif = Image.Exif()
    exif[274] = 6
    draw(folder / "turned.jpg", (40, 30), exif=exif)
    (tmp_path / "labels" / "train" / "turned.txt").write_text(labels)
    data = yolo_boxes(path, "train")
    found = {data.paths[i].stem: data[i] for i in range(len(data))}
    assert all(image.dtype == torch.uint8 for image, _, _ in found.values())
    grey = found["grey"][0]
    assert grey.shape == (3, 3, 41)
    assert torch.equal(grey[0], grey[1])
    assert bool((found["clear"][0] == 255).all())
    assert bool((found["deep"][0] == 255).all())
    assert found["palette"][0].shape == (3, 30, 40)
    assert found["turned"][0].shape == (3, 40, 30)
    torch.testing.assert_close(found["turned"][1], torch.tensor([[7.5, 10, 22.5, 30]]))


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": "", "b": ""})
    bad = tmp_path / "images" / "train" / "b.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    data = yolo_boxes(path, "train")  # the head of the file is good
    with pytest.raises(ValueError, match=r"b\.png' cannot be read as a picture"):
        data[1]
    bad.unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture .*b\.png"):
        data[1]
    bad.write_text("no picture")
    with pytest.raises(ValueError, match=r"b\.png' cannot be read as a picture"):
        yolo_boxes(path, "train")


def test_a_picture_of_another_size_is_named(tmp_path: Path):
    data = coco_boxes(coco_file(tmp_path, []))
    draw(tmp_path / "pictures" / "a.png", (30, 40))
    with pytest.raises(ValueError, match=r"a\.png' has 30 x 40 pixels, but .*boxes\.json was made for 40 x 30"):
        data[0]


def test_trees_are_all_there():
    task = fl.tasks.trees(size=128)
    assert (len(task.train), len(task.val), task.classes, task.name) == (37, 10, ("tree",), "trees")
    assert sum(map(len, task.train.boxes)) == 641
    assert sum(map(len, task.val.boxes)) == 346
    image, boxes, _ = task.val[9]
    assert image.shape[0] == 3
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())

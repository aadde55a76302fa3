"""Data sets in YOLO's layout, written by hand, good and bad."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch

from fpgmlab.tasks import Detection, yolo_boxes
from fpgmlab.tasks.reading import picture_size
from tests.tasks.detection.made import draw, yolo_folder


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


def test_a_data_yaml_may_have_a_split_to_test_with(tmp_path: Path):
    yolo_folder(tmp_path, {"a": "1 0.5 0.5 0.5 0.2", "b": "0 0.5 0.5 0.5 0.2", "c": ""})
    for split, name in (("first", "a"), ("second", "b"), ("last", "c")):
        (tmp_path / f"{split}.txt").write_text(f"images/train/{name}.png\n")
    path = tmp_path / "data.yaml"
    path.write_text("names: [cat, dog]\ntrain: first.txt\nval: second.txt\ntest: last.txt\n")
    train, val, test = (yolo_boxes(path, split) for split in ("train", "val", "test"))
    task = Detection(train, val, size=64, test=test)
    (images, targets), *more = task.test_batches(2)
    assert (images.shape, targets.shape, more) == ((1, 3, 64, 64), (1, 0, 5), [])
    path.write_text("names: [cat, dog]\ntrain: images/train\nval: images/train\ntest: # optional\n")
    with pytest.raises(ValueError, match="line 4: no entry 'test', or it is empty"):
        yolo_boxes(path, "test")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "2 0.5 0.5 0.1 0.1",
            "class number 2 does not exist; with 2 classes it must be 0 to 1. .* counted from 1",
        ),
        ("3 0.5 0.5 0.1 0.1", "it must be 0 to 1$"),
        ("-1 0.5 0.5 0.1 0.1", "class number -1 does not exist"),
        ("0 0.5 0.5 0.1", "must be a whole class number and x y width height"),
        ("0.5 0.5 0.5 0.1 0.1", "must be a whole class number"),
        ("nan 0.5 0.5 0.1 0.1", "must be a whole class number"),
        ("cat 0.5 0.5 0.1 0.1", "must be numbers with spaces between"),
        ("0,0.5,0.5,0.1,0.1", "must be numbers with spaces between"),
        ("0 0.5 0.5 0.1 0.1 0.93", "it has 6 columns, a confidence too\\?"),
        ("0 0.5 0.5 0.1 0.1 0.2 0.2 2 0.3 0.3 1", "looks like pixels or keypoints"),
        ("0 0.5 0.5 0.1 0.1 0.2 0.2 2 0.3 0.3 1", r"must say so: kpt_shape: \[3, 2\] or kpt_shape: \[2, 3\]$"),
        ("0 0.5 0.5 0.1 0.1 1.57", "it has 6 columns, a confidence too\\? Or an angle: .* by its four corners"),
        (
            "0 0.5 0.5 0.1 0.1 0.2 0.2 2",
            r"it has 8 columns\. .* keypoints, data.yaml must say so: kpt_shape: \[1, 3\]$",
        ),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.9", "it has 10 columns, a confidence too"),
        ("0 inf 0.5 0.1 0.1", "looks like pixels"),
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
            r"yaml, line 2: train: 'nowhere': no folder or list of pictures at '.*nowhere', .* absolute 'path:'\.$",
        ),
        ("names: [a]\ntrain: nowhere\ndownload: print()\n", FileNotFoundError, "'download' is not run: fetch the data"),
        ("names: [a]\ntrain: images\\train\n", FileNotFoundError, r"Write / in place of \\\."),
        ("names: [a]\ntrain: p.png\n", ValueError, r"p\.png' is no text in UTF-8"),
        ("names: [a]\ntrain: 5\n", ValueError, r"yaml, line 2: 'train' must be a path; got 5"),
        ("path: [a]\nnames: [a]\ntrain: images\n", ValueError, r"yaml, line 1: 'path' must be a path; got \['a'\]"),
        ("names: [a]\ntrain:\n", ValueError, "yaml, line 2: no entry 'train', or it is empty"),
        (
            "names: [yes, a]\ntrain: images/train\n",
            ValueError,
            "line 1: name 0 must be text, not of type bool; .*q",
        ),
        ("names: [[a]]\ntrain: images/train\n", ValueError, "name 0 must be text, not of type list"),
        ("names: [a]\ntrain: !!python/name:builtins.len\n", ValueError, "is no YAML: .*constructor"),
        ("names: [a]\ntrain: list.txt\n", FileNotFoundError, r"list\.txt, line 2: no picture"),
        ("names: [a]\ntrain: empty\n", FileNotFoundError, "no pictures in"),
        ("names: [a]\ntrain: bare\n", FileNotFoundError, "none of 1 pictures has a label file; expected .*p.txt"),
        ("names: [a]\nval: images/train\n", ValueError, r"no entry 'train', or it is empty; its splits are \['val'\]"),
        ("names: [a]\nnc: 2\ntrain: images/train\n", ValueError, "yaml, line 2: nc is 2, but there are 1 names"),
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
    draw(tmp_path / "p.png")
    with pytest.raises(error, match=said):
        yolo_boxes(path, "train")
    with pytest.raises(FileNotFoundError, match="no file"):
        yolo_boxes(tmp_path / "other.yaml", "train")
    with pytest.raises(FileNotFoundError, match=r"is a folder with 'data\.yaml'; expected"):
        yolo_boxes(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"a folder with 'train' and no YAML .* fl\.tasks\.image_folder makes"):
        yolo_boxes(tmp_path / "images", "train")
    with pytest.raises(FileNotFoundError, match="is a folder with nothing in it and no YAML"):
        yolo_boxes(tmp_path / "empty", "train")


def test_splits_alone_are_named_where_one_is_not_there(tmp_path: Path):
    text = "path: .\ntrain: images/train\nval: [images/train]\nnc: 2\nnames: [a, b]\ndownload: x\nroboflow: {a: b}\n"
    path = yolo_folder(tmp_path, {"a": "1 0.5 0.5 0.5 0.2"}, text)
    with pytest.raises(ValueError, match=r"no entry 'valid', or it is empty; its splits are \['train', 'val'\]$"):
        yolo_boxes(path, "valid")


def test_a_data_set_says_what_it_holds(tmp_path: Path):
    data = yolo_boxes(yolo_folder(tmp_path, {"a": "1 0.5 0.5 0.5 0.2\n0 0.5 0.5 0.5 0.2", "b": ""}), "train")
    assert repr(data) == "2 pictures, 2 boxes, 2 classes (cat, dog)"
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.5 0.2")
    (tmp_path / "data.yaml").write_text("names: [tree]\ntrain: images/train\n")
    assert repr(yolo_boxes(tmp_path / "data.yaml", "train")) == "2 pictures, 1 box, 1 class (tree)"


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf%s\n", b"%s\r\n\r\n", b"%s\t", b" %s \n"])
def test_label_files_of_all_editors(tmp_path: Path, text: bytes):
    path = yolo_folder(tmp_path, {"a": ""})
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(text % b"1 0.5 0.5 0.5 0.2")
    torch.testing.assert_close(yolo_boxes(path, "train").boxes[0], torch.tensor([[10.0, 12, 30, 18]]))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert yolo_boxes(path, "train").classes == ("cat", "dog")


def test_a_label_file_of_another_kind_is_named(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": ""})
    (tmp_path / "labels" / "train" / "a.txt").write_bytes("0 0.5 0.5 0.5 0.2".encode("utf-16"))
    with pytest.raises(ValueError, match=r"a\.txt' is no text in UTF-8"):
        yolo_boxes(path, "train")


def test_labels_without_a_picture_are_told(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": "", "b": "", "c": ""})
    (tmp_path / "images" / "train" / "b.png").unlink()
    (tmp_path / "labels" / "train" / "classes.txt").write_text("cat\ndog\n")  # LabelImg leaves it there
    (tmp_path / "images" / "train" / "._a.png").write_bytes(b"\0\5\26\7")  # and macOS this
    with pytest.warns(UserWarning, match=r"\(train\): 1 label files have no picture; the first: .*b\.txt"):
        assert len(yolo_boxes(path, "train")) == 2
    (tmp_path / "list.txt").write_text("images/train/a.png\n")
    path.write_text("names: [cat, dog]\ntrain: list.txt\n")
    (tmp_path / "labels" / "train" / "b.txt").unlink()
    assert len(yolo_boxes(path, "train")) == 1  # a list may leave some out


def test_paths_are_found_where_yolov5_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    labels = {"a": "0 0.5 0.5 0.5 0.2"}
    yolo_folder(tmp_path / "datasets" / "some", labels)
    path = tmp_path / "yolov5" / "data" / "some.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("names: [cat, dog]\npath: ../datasets/some\ntrain: images/train\n")
    assert len(yolo_boxes(path, "train")) == 1  # from the folder above that of the file
    elsewhere = tmp_path / "mine" / "in" / "deep" / "some.yaml"
    elsewhere.parent.mkdir(parents=True)
    path.rename(elsewhere)
    with pytest.raises(FileNotFoundError, match=r"some\.yaml, line 3: train"):
        yolo_boxes(elsewhere, "train")
    monkeypatch.chdir(tmp_path / "yolov5" / "data")
    Path("bare.yaml").write_text(elsewhere.read_text())
    assert len(yolo_boxes("bare.yaml", "train")) == 1  # given by its name alone
    monkeypatch.chdir(tmp_path / "yolov5")
    assert len(yolo_boxes(elsewhere, "train")) == 1  # from the working directory
    elsewhere.write_text(f"names: [cat, dog]\npath: {tmp_path}/datasets/some\ntrain: images/train\n")
    assert len(yolo_boxes(elsewhere, "train")) == 1
    roboflow = yolo_folder(tmp_path / "robo", labels, "names: [cat, dog]\ntrain: ../train/images\n")
    (tmp_path / "robo" / "train").mkdir()
    for kind in ("images", "labels"):
        (tmp_path / "robo" / kind / "train").rename(tmp_path / "robo" / "train" / kind)
    assert len(yolo_boxes(roboflow, "train")[0][1]) == 1  # without the leading ../


def test_links_to_folders_are_followed_once(tmp_path: Path):
    path = yolo_folder(tmp_path / "set", {"a": "0 0.5 0.5 0.5 0.2"})
    draw(tmp_path / "elsewhere" / "b.png")
    pictures = tmp_path / "set" / "images" / "train"
    (pictures / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(pictures)
    assert len(yolo_boxes(path, "train")) == 2


def test_classes_without_names_are_numbered(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": "1 0.5 0.5 0.5 0.2"}, "nc: 2\ntrain: images/train\n")
    assert yolo_boxes(path, "train").classes == ("class0", "class1")
    for count in ("two", "0", "yes"):
        path.write_text(f"nc: {count}\ntrain: images/train\n")
        with pytest.raises(ValueError, match=r"line 1: nc must be the number of classes, or names given; got "):
            yolo_boxes(path, "train")


# Keypoints, oriented boxes, polygons ---------------------------------------------------------------------------------

BOX = [0.5, 0.4, 0.3, 0.2]  # centre and size; in 40 x 30 pixels left 14, top 9, right 26, bottom 15
CORNERS = torch.tensor([[14.0, 9, 26, 15]])


def yaml(*more: str) -> str:
    return "\n".join(("names: [cat, dog]", "train: images/train", *more)) + "\n"


def keypoints(random: random.Random, box: list[float], count: int, each: int) -> list[float]:
    """Return points in a box; of three numbers each, the last says whether one can see it."""
    points = [[c + (random.random() - 0.5) * s for c, s in zip(box, box[2:], strict=False)] for _ in range(count)]
    return [n for point in points for n in (*point, *([random.choice((0, 1, 2))] if each == 3 else []))]


def line(*numbers: float) -> str:
    return " ".join(f"{number:.6g}" for number in (1, *numbers))


@pytest.mark.parametrize("each", [2, 3])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 17])
def test_boxes_of_labels_with_keypoints(tmp_path: Path, count: int, each: int):
    points = keypoints(random.Random(count), BOX, count, each)
    unseen = [0.0] * len(points)
    lines = [line(*BOX, *points), line(*BOX[:2], 0.1, 0.1, *unseen), line(0.2, 0.2, 0.1, 0.1)]  # the last has none
    data = yolo_boxes(yolo_folder(tmp_path, {"a": "\n".join(lines)}, yaml(f"kpt_shape: [{count}, {each}]")), "train")
    torch.testing.assert_close(
        data.boxes[0], torch.cat([CORNERS, torch.tensor([[18.0, 10.5, 22, 13.5], [6, 4.5, 10, 7.5]])])
    )
    assert data.labels[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("columns", [4, 6, 9, 12, 17])
def test_a_line_that_is_not_of_the_shape_is_named(tmp_path: Path, columns: int):
    path = yolo_folder(tmp_path, {"a": line(*([0.5] * (columns - 1)))}, yaml("kpt_shape: [2, 3]"))
    said = r"with or without 2 keypoints of 3 numbers each, as kpt_shape in data.yaml says: 5 or 11 columns; it has"
    with pytest.raises(ValueError, match=rf"a\.txt, line 1: .* x y width height, {said} {columns}$"):
        yolo_boxes(path, "train")


@pytest.mark.parametrize(
    "shape", ["17", "[17]", "[17, 4]", "[0, 3]", "[-1, 2]", "[a, 2]", "[17, 3.0]", "[true, 2]", "{}"]
)
def test_a_bad_shape_of_keypoints_is_named(tmp_path: Path, shape: str):
    path = yolo_folder(tmp_path, {"a": line(*BOX)}, yaml(f"kpt_shape: {shape}"))
    with pytest.raises(
        ValueError, match=r"yaml, line 3: kpt_shape must be \[number of keypoints, 2 or 3\], or \[0, 0\]"
    ):
        yolo_boxes(path, "train")


def objects(count: int = 20) -> list[list[float]]:
    """Return boxes of several sizes all over the picture: centre and size."""
    at = random.Random(0)
    boxes = []
    for _ in range(count):
        width, height = 0.05 + 0.3 * at.random(), 0.05 + 0.3 * at.random()
        boxes.append([width / 2 + (1 - width) * at.random(), height / 2 + (1 - height) * at.random(), width, height])
    return boxes


@pytest.mark.parametrize(("count", "each"), [(1, 2), (2, 2), (3, 2), (17, 2), (2, 3), (4, 3)])
def test_keypoints_that_nobody_told_of_are_suspected(tmp_path: Path, count: int, each: int):
    at = random.Random(1)
    # Never quite visible: a 2 could be no coordinate.
    lines = [line(*box, *(min(n, 1.0) for n in keypoints(at, box, count, each))) for box in objects()]
    path = yolo_folder(tmp_path, {"a": "\n".join(lines[:12]), "b": "\n".join(lines[12:])})
    shape = rf"\[{count}, {each}\]"
    with pytest.warns(UserWarning, match=rf"all 20 polygons have .* as polygons\. .*{shape}.*kpt_shape: \[0, 0\]$"):
        yolo_boxes(path, "train")
    path.write_text(yaml("kpt_shape: [0, 0]"))
    yolo_boxes(path, "train")  # said to be polygons; warnings are errors


def turned(box: list[float], angle: float) -> list[float]:
    """Return the corners of a box that is turned about its centre."""
    x, y, width, height = box
    c, s = math.cos(angle) / 2, math.sin(angle) / 2
    sides = ((-width, -height), (width, -height), (width, height), (-width, height))
    return [n for w, h in sides for n in (x + c * w - s * h, y + s * w + c * h)]


def test_an_oriented_box_is_within_its_box(tmp_path: Path):
    # A square of a tenth on its corner, in a picture of 40 x 30: half a diagonal is 0.0707.
    path = yolo_folder(tmp_path, {"a": line(*turned([0.5, 0.5, 0.1, 0.1], math.pi / 4))})
    expected = torch.tensor([[20 - 2.8284, 15 - 2.1213, 20 + 2.8284, 15 + 2.1213]])
    torch.testing.assert_close(yolo_boxes(path, "train").boxes[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("corners", [3, 4, 5, 8])
def test_polygons_all_over_a_picture_raise_no_doubt(tmp_path: Path, corners: int):
    at = random.Random(2)
    lines, expected = [], []
    for x, y, width, height in objects():
        angles = sorted(at.uniform(0, 2 * math.pi) for _ in range(corners))
        points = [n for a in angles for n in (x + width / 2 * math.cos(a), y + height / 2 * math.sin(a))]
        lines.append(line(*points))
        expected.append([min(points[::2]) * 40, min(points[1::2]) * 30, max(points[::2]) * 40, max(points[1::2]) * 30])
    data = yolo_boxes(yolo_folder(tmp_path, {"a": "\n".join(lines)}), "train")  # warnings are errors
    torch.testing.assert_close(data.boxes[0], torch.tensor(expected), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "lines",
    [
        [[0.4, 0.4, 0.5, 0.4, 0.5, 0.5, 0.4, 0.5]],  # four corners, as of an oriented box
        [[0.4, 0.4, 0.5, 0.4, 0.6, 0.5, 0.5, 0.6, 0.4, 0.4]],  # closed
        [[0.4, 0.4, 0.5, 0.4, 0.5, 0.5], [0.4, 0.4, 0.5, 0.4, 0.5, 0.5, 0.45, 0.6]],  # of several lengths
        [[0.8, 0.4, 0.9, 0.4, 0.9, 0.5]],  # 0.8 is not the centre of a box 0.9 wide
        [BOX, [0.4, 0.4, 0.5, 0.4, 0.5, 0.5, 0.4, 0.5]],  # boxes among polygons
    ],
)
def test_what_must_be_polygons_raises_no_doubt(tmp_path: Path, lines: list[list[float]]):
    path = yolo_folder(tmp_path, {"a": "\n".join(line(*numbers) for numbers in lines)})
    assert len(yolo_boxes(path, "train").boxes[0]) == len(lines)


def test_a_single_line_can_be_doubted(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": line(0.4, 0.4, 0.5, 0.4, 0.5, 0.5)})
    with pytest.warns(UserWarning, match=r"the only polygon has 3 corners.* kpt_shape: \[1, 2\], and"):
        yolo_boxes(path, "train")


def cut(path: Path) -> Path:
    """Leave of a picture its head and the beginning of its body."""
    path.write_bytes(path.read_bytes()[:-900])
    picture_size(path)
    return path


@pytest.mark.parametrize("damage", ["body", "head and body"])
def test_damaged_pictures_are_named_at_load_all_of_them(tmp_path: Path, damage: str):
    path = yolo_folder(tmp_path, {name: "0 0.5 0.5 0.5 0.2" for name in "abcd"})
    bad = [cut(tmp_path / "images" / "train" / "b.png")]
    if damage == "head and body":
        bad.append(tmp_path / "images" / "train" / "d.png")
        bad[1].write_text("no picture")
    with pytest.raises(ValueError, match=rf"\(train\): {len(bad)} of 4 pictures cannot be read; restore") as caught:
        yolo_boxes(path, "train", progress=False)
    assert all(f"\n  '{each}' (" in str(caught.value) for each in bad)
    if damage == "body":
        assert len(yolo_boxes(path, "train", check=False)) == 4
    else:
        with pytest.raises(ValueError, match=r"d\.png' cannot be read as a picture"):
            yolo_boxes(path, "train", check=False)


def test_a_wrong_label_is_told_before_all_pictures_are_read(tmp_path: Path):
    path = yolo_folder(tmp_path, {"a": "0 0.5 0.5 0.5", "b": ""})
    cut(tmp_path / "images" / "train" / "b.png")
    with pytest.raises(ValueError, match=r"a\.txt, line 1"):
        yolo_boxes(path, "train", progress=False)

"""Data sets in YOLO's layout, written by hand, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fpgmlab.tasks import yolo_boxes
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
        ("names: [a]\nval: images/train\n", ValueError, "no entry 'train', or it is empty; there are .*'names', 'val'"),
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
    with pytest.raises(FileNotFoundError, match=r"is a folder with \['data\.yaml'\]"):
        yolo_boxes(tmp_path, "train")


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

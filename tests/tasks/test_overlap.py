"""Pictures that are trained on and judged by are told of, where the data sets know their files."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from torch.utils.data import ConcatDataset, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2.functional import pil_to_tensor

import fpgmlab as fl
from fpgmlab.tasks import Classification, Detection, yolo_boxes
from tests.tasks.detection.made import draw, yolo_folder

BOX = "0 0.5 0.5 0.5 0.2"


def read(folder: Path, val: str) -> list[fl.tasks.BoxedPictures]:
    yaml = f"names: [cat, dog]\ntrain: images/train\nval: {val}\n"
    path = yolo_folder(folder, dict.fromkeys("abc", BOX), yaml)
    (folder / "some.txt").write_text(f"images/train/b.png\n{draw(folder / 'other' / 'images' / 'd.png')}\n")
    (folder / "linked").symlink_to(folder / "images" / "train")
    return [yolo_boxes(path, split, progress=False) for split in ("train", "val")]


@pytest.mark.parametrize(
    ("val", "words"),
    [
        ("images/train", "3 of 3 pictures to validate with are trained on as well, the first '.*train/a.png'"),
        ("some.txt", "1 of 2 pictures to validate with are trained on as well, the first '.*train/b.png'"),
    ],
)
def test_pictures_that_are_trained_on_are_named(tmp_path: Path, val: str, words: str):
    train, val = read(tmp_path, val)
    with pytest.warns(UserWarning, match=f"pets: {words}: the network looks better on them than it is") as told:
        Detection(train, val, size=64, name="pets")
    assert [each.filename for each in told] == [__file__]


def test_a_linked_folder_is_the_same(tmp_path: Path):
    read(tmp_path, "some.txt")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train\nval: linked\n")
    (tmp_path / "linked" / "a.txt").write_text(BOX)  # beside the picture, as its folder is not called images
    train, val = (yolo_boxes(tmp_path / "data.yaml", split, progress=False) for split in ("train", "val"))
    with pytest.warns(UserWarning, match="3 of 3 pictures to validate with are trained on"):
        Detection(train, val, size=64)


def test_parts_and_pictures_to_test_with_are_looked_at(tmp_path: Path):
    train, val = read(tmp_path, "some.txt")
    with pytest.warns(UserWarning, match="1 of 2 pictures to test with are trained on as well"):
        Detection(Subset(train, [0, 1]), Subset(train, [2]), classes=2, size=64, test=Subset(val, [1, 0]))
    train, val = read(tmp_path / "again", "some.txt")
    with pytest.warns(UserWarning, match="1 of 2 pictures to validate with are trained on"):
        Detection(train, ConcatDataset([Subset(train, [0]), Subset(val, [1])]), classes=2, size=64)


def test_what_was_meant_is_not_told(tmp_path: Path):
    train, val = read(tmp_path, "some.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Detection(train, train, size=64)  # the same one, given twice
        Detection(Subset(train, [0]), Subset(train, [1, 2]), classes=2, size=64)
        Detection(train, Subset(val, [1]), classes=2, size=64)


def test_classes_in_folders_too(tmp_path: Path):
    for split in ("train", "val"):
        for name in ("blue", "red"):
            draw(tmp_path / split / name / "0.png")
    train, val = (ImageFolder(tmp_path / "train", pil_to_tensor) for _ in range(2))
    with pytest.warns(UserWarning, match=r"2 of 2 pictures .* the first '.*/train/blue/0\.png'"):
        Classification(train, val)
    (tmp_path / "val" / "red" / "0.png").unlink()
    (tmp_path / "val" / "red").rmdir()
    (tmp_path / "val" / "red").symlink_to(tmp_path / "train" / "red")
    with pytest.warns(UserWarning, match="1 of 2 pictures to validate with are trained on as well"):
        fl.tasks.image_folder(tmp_path, size=24, progress=False)

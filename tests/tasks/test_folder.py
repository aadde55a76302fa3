"""Folders of a user's own pictures: which are splits, which are classes, and what is damaged is found at once."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fpgmlab as fl
from fpgmlab.tasks.reading import read_picture


@pytest.mark.parametrize("layout", ["flat", "split"])
def test_a_folder_of_pictures(tmp_path: Path, layout: str):
    counts = {"train": 5, "val": 5} if layout == "split" else {".": 5}
    task = fl.tasks.image_folder(pictures(tmp_path, **counts), size=24)
    assert task.classes == ("blue", "red")
    assert task.example_input.shape == (1, 3, 24, 24)
    assert (len(task.train), len(task.val)) == ((10, 10) if layout == "split" else (8, 2))
    images, labels = next(task.train_batches(4))
    assert images.shape[1:] == (3, 24, 24)
    red = images[labels == 1]
    assert bool((red[:, 0] > red[:, 2]).all())


def pictures(root: Path, **counts: int) -> Path:
    """Draw so many blue and so many red pictures of each split; they differ in their height."""
    for split, count in counts.items():
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (40, 30 + i), colour).save(folder / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("counts", "options", "sizes"),
    [
        ({"train": 6, "val": 2, "test": 3}, {}, (12, 4, 6)),
        ({"train": 6, "val": 2}, {"holdout": 5}, (7, 5, 4)),
        ({"train": 5, "test": 3}, {}, (8, 2, 6)),
        ({"train": 5, "test": 3}, {"val_fraction": 0.5}, (5, 5, 6)),
        ({"train": 5, "test": 3}, {"holdout": 3}, (7, 3, 6)),
        ({".": 10}, {"holdout": 4}, (12, 4, 4)),
    ],
)
def test_a_folder_of_pictures_has_what_is_to_be_tested_with(
    tmp_path: Path, counts: dict[str, int], options: dict[str, float], sizes: tuple[int, ...]
):
    task = fl.tasks.image_folder(pictures(tmp_path, **counts), size=24, **options)
    assert (len(task.train), len(task.val), len(task.test)) == sizes
    held = sum(len(labels) for _, labels in task.test_batches(4))
    assert held == sizes[2]
    assert {int(label) for _, labels in task.test_batches(4) for label in labels} <= {0, 1}


def test_folders_that_cannot_be_a_task_are_refused(tmp_path: Path):
    whole = pictures(tmp_path / "whole", train=3, val=2, test=2)
    with pytest.raises(ValueError, match=r"whole has test data already \(4 examples\)"):
        fl.tasks.image_folder(whole, size=24, holdout=2)
    (whole / "test" / "red").rename(whole / "test" / "green")
    with pytest.raises(ValueError, match=r"train and test must have the same classes; .* \['green', 'red'\]"):
        fl.tasks.image_folder(whole, size=24)
    with pytest.raises(ValueError, match="val_fraction must lie between 0 and 1; got 1"):
        fl.tasks.image_folder(pictures(tmp_path / "flat", train=3, test=2), size=24, val_fraction=1)
    with pytest.raises(FileNotFoundError, match=f"no folder '{tmp_path}/none'"):
        fl.tasks.image_folder(tmp_path / "none")


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Valid"])
def test_splits_are_known_by_their_usual_names(tmp_path: Path, name: str):
    task = fl.tasks.image_folder(pictures(tmp_path, **{"train": 4, name: 3, "test": 2}), size=24)
    assert (task.classes, len(task.train), len(task.val), len(task.test)) == (("blue", "red"), 8, 6, 4)
    assert task.counts().to_dict("list") == {"train": [4, 4], "val": [3, 3], "test": [2, 2]}
    assert repr(task.val) == "6 pictures: blue 3, red 3"


def test_a_folder_with_training_pictures_alone_is_split(tmp_path: Path):
    task = fl.tasks.image_folder(pictures(tmp_path, train=5), size=24)
    assert (task.classes, len(task.train), len(task.val), task.test) == (("blue", "red"), 8, 2, None)


def test_a_class_may_be_called_as_a_split(tmp_path: Path):
    for name in ("bus", "train"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (30, 30)).save(tmp_path / name / f"{i}.png")
    assert fl.tasks.image_folder(tmp_path, size=24).classes == ("bus", "train")


def test_splits_without_folders_of_classes_are_no_classes(tmp_path: Path):
    for name in ("train", "val2017"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (30, 30)).save(tmp_path / "images" / name / "0.png")
    words = r"images': 'train', 'val2017' hold pictures and no folders of classes; expected pictures in train/<class>"
    with pytest.raises(ValueError, match=words) as caught:
        fl.tasks.image_folder(tmp_path / "images")
    assert "YOLO" not in str(caught.value)


@pytest.mark.parametrize("place", [".", "images", "images/train", "parts", "parts/train"])
def test_boxes_in_yolos_layout_are_known(tmp_path: Path, place: str):
    """Pictures with boxes are no classes: images beside labels, of all splits or within each of them."""
    for folder in ("images/train", "images/val", "parts/train/images", "parts/val/images"):
        for lies, name in ((folder, "0.png"), (folder.replace("images", "labels"), "0.txt")):
            (tmp_path / lies).mkdir(parents=True)
            Image.new("RGB", (30, 30)).save(tmp_path / lies / name, "png")
    own = tmp_path / "parts" if place.startswith("parts") else tmp_path
    (own / "data.yaml").write_text("names: [tree]")
    if place == ".":
        shutil.rmtree(tmp_path / "parts")
    words = rf"YOLO's layout: fl\.tasks\.yolo_boxes\('{own}/data.yaml', 'train'\)"
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        fl.tasks.image_folder(tmp_path / place)


def test_a_random_split_leaves_no_class_without_pictures_on_either_side(tmp_path: Path):
    for label, count in (("ant", 30), ("bee", 2), ("cow", 5)):
        (tmp_path / label).mkdir()
        for i in range(count):
            Image.new("RGB", (30, 30), (i, 0, 0)).save(tmp_path / label / f"{i}.png")
    for seed in range(4):
        task = fl.tasks.image_folder(tmp_path, size=24, seed=seed, progress=False)
        assert task.counts().to_dict("list") == {"train": [25, 1, 4], "val": [5, 1, 1]}
    with pytest.warns(UserWarning, match=r"with 4 of 19 .* none to validate, .*: bee \(1 in all\)"):
        held = fl.tasks.image_folder(tmp_path, size=24, val_fraction=0.5, holdout=4, progress=False)
    assert held.counts().to_dict("list") == {"train": [12, 1, 2], "val": [3, 0, 1], "test": [15, 1, 2]}


def test_a_class_of_one_picture_is_named(tmp_path: Path):
    for label, count in (("ant", 9), ("bee", 1)):
        (tmp_path / label).mkdir()
        for i in range(count):
            Image.new("RGB", (30, 30), (i, 0, 0)).save(tmp_path / label / f"{i}.png")
    said = r"with 2 of 10 examples held out, 1 of 2 classes have none to validate, .*: bee \(1 in all\)\. Give more"
    with pytest.warns(UserWarning, match=said):
        task = fl.tasks.image_folder(tmp_path, size=24, progress=False)
    assert task.counts().to_dict("list") == {"train": [7, 1], "val": [2, 0]}


def test_hidden_folders_and_files_are_left_out(tmp_path: Path):
    pictures(tmp_path, train=2, val=1)
    for folder in (tmp_path, tmp_path / "train", tmp_path / "train" / "red"):
        for name in (".ipynb_checkpoints", "__MACOSX"):
            (folder / name).mkdir()
            Image.new("RGB", (30, 30)).save(folder / name / "0-checkpoint.png")
    (tmp_path / "train" / "red" / "._0.png").write_bytes(b"of macOS")
    task = fl.tasks.image_folder(tmp_path, size=24)
    assert task.counts().to_dict("list") == {"train": [2, 2], "val": [1, 1]}


def test_what_the_folders_mean_is_asked_and_not_guessed(tmp_path: Path):
    with pytest.raises(ValueError, match="has 'test' with folders in it, but none to train on"):
        fl.tasks.image_folder(pictures(tmp_path / "a", test=2))
    with pytest.raises(ValueError, match="has both 'val' and 'valid': which of them is 'val'"):
        fl.tasks.image_folder(pictures(tmp_path / "b", train=2, val=1, valid=1))
    with pytest.warns(UserWarning, match="left out, as they are no split: 'extra'"):
        task = fl.tasks.image_folder(pictures(tmp_path / "c", train=2, val=1, extra=1), size=24)
    assert len(task.train) == 4
    shutil.rmtree(tmp_path / "c" / "extra")
    with pytest.raises(FileNotFoundError, match=r"red' holds no folder; expected one with pictures for each class"):
        fl.tasks.image_folder(tmp_path / "c" / "train" / "red")
    (tmp_path / "c" / "val" / "green").mkdir()
    with pytest.raises(FileNotFoundError, match="val': no pictures in 'green'; take out what is no class"):
        fl.tasks.image_folder(tmp_path / "c")


def test_damaged_pictures_are_named_at_once_all_of_them(tmp_path: Path):
    pictures(tmp_path, train=4, val=2)
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    bad = [tmp_path / "train" / "red" / "cut.jpg", tmp_path / "val" / "blue" / "0.png"]
    Image.fromarray(noise).save(bad[0])
    bad[0].write_bytes(bad[0].read_bytes()[:-1500])  # its head is good
    bad[1].write_text("no picture")
    with pytest.raises(ValueError, match="2 of 13 pictures cannot be read; restore them") as caught:
        fl.tasks.image_folder(tmp_path, size=24)
    assert all(f"\n  '{path}' (" in str(caught.value) for path in bad)
    task = fl.tasks.image_folder(tmp_path, size=24, check=False)
    with pytest.raises(ValueError, match=r"val/blue/0\.png' cannot be read as a picture"):
        next(task.val_batches(4))


@pytest.mark.parametrize("colour", [False, True])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, colour: bool):
    for label, level in (("dark", 0.25), ("light", 0.75)):
        (tmp_path / label).mkdir()
        for number in range(2):
            deep_png(tmp_path / label / f"{number}.png", level, colour)
    assert int(read_picture(tmp_path / "light" / "0.png").float().mean()) == int(0.75 * 255)
    task = fl.tasks.image_folder(tmp_path, size=8, val_fraction=0.5)
    for data in (task.train, task.val):
        for image, label in data:
            level = image[0].mean() * 0.229 + 0.485  # red, as it was before it was normalised
            torch.testing.assert_close(float(level), (0.25, 0.75)[label], atol=0.01, rtol=0)


def deep_png(path: Path, level: float, colour: bool) -> None:
    """Write a grey or coloured PNG of 16 bits, which PIL cannot write in colour."""
    pixels = np.full((12, 12, 3 if colour else 1), level * 65535)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 12, 12, 16, 2 if colour else 0, 0, 0, 0)
    ends = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + ends)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "96"}, "size must be a whole number of at least 1; got '96'"),
        ({"size": (96, 64)}, r"size must be a whole number of at least 1; got \(96, 64\)"),
        ({"size": 0}, "size must be a whole number"),
        ({"val_fraction": 2}, "val_fraction must lie between 0 and 1; got 2"),
        ({"holdout": "5"}, "holdout must be a whole number of at least 1; got '5'"),
    ],
)
def test_options_are_looked_at_before_the_pictures(tmp_path: Path, options: dict, words: str, monkeypatch):
    root = pictures(tmp_path, a=3, b=3)
    monkeypatch.setattr("fpgmlab.tasks.folder.check_pictures", lambda *_, **__: pytest.fail("pictures were read"))
    with pytest.raises(ValueError, match=words):
        fl.tasks.image_folder(root, **options)

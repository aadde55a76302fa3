"""Pictures of all kinds, and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fpgmlab as fl
from fpgmlab.tasks import yolo_boxes
from fpgmlab.tasks.reading import picture_size, read_picture
from tests.tasks.detection.made import draw, yolo_folder


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
    data = yolo_boxes(path, "train", check=False)  # the head of the file is good
    with pytest.raises(ValueError, match=r"b\.png' cannot be read as a picture"):
        data[1]
    bad.unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture .*b\.png"):
        data[1]
    bad.write_text("no picture")
    with pytest.raises(ValueError, match=r"b\.png' cannot be read as a picture"):
        yolo_boxes(path, "train", check=False)


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("L", "jpg", {}),
        ("LA", "png", {}),
        ("1", "png", {}),
        ("P", "gif", {}),
        ("CMYK", "jpg", {}),
        ("YCbCr", "tif", {}),
        ("RGBA", "webp", {"lossless": True}),
        ("RGB", "gif", {"save_all": True, "append_images": [Image.new("RGB", (40, 30))] * 2}),
        ("RGB", "tif", {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
    ],
)
@pytest.mark.parametrize("size", [(40, 30), (1, 50), (1, 1)])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str, options: dict, size: tuple[int, int]):
    path = draw(tmp_path / f"a.{suffix}", size, mode, **options)
    image = read_picture(path)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, *size[::-1]))
    assert picture_size(path) == size
    with Image.open(path) as first:
        if not first.has_transparency_data:
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.array(first.convert("RGB")))


@pytest.mark.parametrize(("white", "kind"), [(65535, np.uint16), (255, np.uint16), (1, np.float32), (255, np.float32)])
def test_deep_greys_keep_their_levels(tmp_path: Path, white: int, kind: type):
    levels = np.linspace(0, 1, 40 * 30).reshape(30, 40)
    Image.fromarray((levels * white).astype(kind)).save(tmp_path / "a.tif")
    image = read_picture(tmp_path / "a.tif")
    assert float((image - torch.from_numpy(levels * 255)).abs().max()) <= 1
    assert int(image.max()) == 255


@pytest.mark.parametrize("content", [b"", b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_picture, picture_size):
        with pytest.raises(ValueError, match=r"a\.jpg' cannot be read as a picture .* take it out of the data set"):
            read(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif"])
def test_cut_pictures_are_named(tmp_path: Path, suffix: str):
    whole = draw(tmp_path / f"a.{suffix}", (200, 150)).read_bytes()
    for part in (0.02, 0.3, 0.9):
        (tmp_path / f"b.{suffix}").write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match=rf"b\.{suffix}' cannot be read as a picture"):
            read_picture(tmp_path / f"b.{suffix}")


def test_a_picture_too_large_to_be_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"a\.png' cannot be read as a picture .*1200 pixels"):
        read_picture(draw(tmp_path / "a.png"))


def test_trees_are_all_there():
    task = fl.tasks.trees(size=128)
    assert (len(task.train), len(task.val), task.classes, task.name) == (37, 10, ("tree",), "trees")
    assert sum(map(len, task.train.boxes)) == 641
    assert sum(map(len, task.val.boxes)) == 346
    image, boxes, _ = task.val[9]
    assert image.shape[0] == 3
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())

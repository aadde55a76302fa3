#!/usr/bin/env python
"""Rebuild what lies in data/: each thing from its origin, with one command.

python data/build.py fashion-mnist      # from Debian's package dataset-fashion-mnist
python data/build.py trees              # from the images in PyPI's package deepforest
python data/build.py resnet20-fashion   # trains it: about half an hour on two CPU cores
python data/build.py vgg16-fashion      # trains it: about a quarter of an hour
python data/build.py vgg16-fashion-sparse   # the same, with a penalty on the scales of its batch norms
python data/build.py yolov5n-trees      # trains it on trees: a quarter of an hour
python data/build.py resnet20-fashion-sweep   # measures its sensitivity: a quarter of an hour on one CPU core
python data/build.py resnet20-fashion-repaired-sweep   # the same after repair; and both of vgg16-fashion, in 5 minutes
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

DATA = Path(__file__).resolve().parent

FASHION = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


def fashion_mnist() -> None:
    """Take the four files out of Debian's package."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=folder, check=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", package.name, "."], cwd=folder, check=True)
        target = DATA / "fashion-mnist"
        target.mkdir(exist_ok=True)
        for name, expected in FASHION.items():
            content = (Path(folder) / "usr/share/datasets/fashion-mnist" / name).read_bytes()
            found = hashlib.sha256(content).hexdigest()
            if found != expected:
                raise SystemExit(f"{name} has sha256 {found}, expected {expected}")
            (target / name).write_bytes(content)


# Trees: the aerial images and hand-drawn boxes that deepforest ships. A source image is in one split only.

TILE = 400  # px
STRIP = 200  # px: a narrower rest at the right or lower edge is left out
VISIBLE = 0.3  # share of a box's area that must lie in a tile
SPLITS = {
    "train": ("2019_YELL_2_528000_4978000_image_crop2", "SOAP_061"),
    "val": ("2019_YELL_2_541000_4977000_image_crop", "OSBS_029"),
}


def trees() -> None:
    """Cut deepforest's images into tiles and write COCO JSON."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["download", "--no-deps", "--only-binary=:all:", "--dest", folder, "deepforest==2.1.0"]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for split, sources in SPLITS.items():
                _write_split(archive, split, sources)


def _write_split(archive: zipfile.ZipFile, split: str, sources: tuple[str, ...]) -> None:
    target = DATA / "trees"
    (target / split).mkdir(parents=True, exist_ok=True)
    for old in (target / split).glob("*.jpg"):
        old.unlink()
    images, annotations = [], []
    for source in sources:
        picture = Image.open(io.BytesIO(archive.read(f"deepforest/data/{source}.png"))).convert("RGB")
        boxes = list(_voc_boxes(archive.read(f"deepforest/data/{source}.xml")))
        for left, top, right, bottom in _tiles(*picture.size):
            name = f"{split}/{source.replace('_image_crop', '').replace('2019_', '')}_{left:04d}_{top:04d}.jpg"
            picture.crop((left, top, right, bottom)).save(target / name, quality=85, subsampling=0)
            images.append(
                {"id": len(images) + 1, "file_name": name, "width": right - left, "height": bottom - top,
                 "source": f"{source}.png"}
            )  # fmt: skip
            for box in boxes:
                x0, y0 = max(box[0], left), max(box[1], top)
                x1, y1 = min(box[2], right), min(box[3], bottom)
                area = max(0, x1 - x0) * max(0, y1 - y0)
                if area and area >= VISIBLE * (box[2] - box[0]) * (box[3] - box[1]):
                    annotations.append(
                        {"id": len(annotations) + 1, "image_id": len(images), "category_id": 1,
                         "bbox": [x0 - left, y0 - top, x1 - x0, y1 - y0], "area": area, "iscrowd": 0}
                    )  # fmt: skip
    coco = {
        "info": {"description": f"Tree crowns in aerial images, {split}", "source": "deepforest 2.1.0 (MIT)"},
        "licenses": [{"id": 1, "name": "MIT", "url": "https://github.com/weecology/DeepForest"}],
        "categories": [{"id": 1, "name": "tree"}],
        "images": images,
        "annotations": annotations,
    }
    (target / f"{split}.json").write_text(json.dumps(coco, indent=None, separators=(",", ":")) + "\n")
    print(f"trees/{split}: {len(images)} tiles, {len(annotations)} boxes")


def _voc_boxes(xml: bytes) -> Iterator[tuple[int, int, int, int]]:
    for item in ElementTree.fromstring(xml).iter("object"):
        # VOC counts pixels from 1, and its corners belong to the box.
        corner = {key: round(float(item.find(f"bndbox/{key}").text)) for key in ("xmin", "ymin", "xmax", "ymax")}
        yield corner["xmin"] - 1, corner["ymin"] - 1, corner["xmax"], corner["ymax"]


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            right, bottom = min(left + TILE, width), min(top + TILE, height)
            if right - left >= STRIP and bottom - top >= STRIP:
                yield left, top, right, bottom


# Checkpoints: on 55,000 training images, 5,000 are held out for whoever chooses something; the weights of the last
# epoch, whatever the others say.

HOLDOUT = 5000

RECIPE = {"lr": 0.1, "optimizer": "sgd", "weight_decay": 5e-4, "batch_size": 128, "seed": 0, "amp": "bfloat16"}
VGG16 = {"architecture": "vgg16", "channels": 1, "width": 0.25}
CHECKPOINTS = {  # architecture, epochs, strength of the penalty on the scales of batch norms
    "resnet20-fashion": ({"architecture": "resnet20", "channels": 1}, 15, 0.0),
    "vgg16-fashion": (VGG16, 15, 0.0),
    "vgg16-fashion-sparse": (VGG16, 15, 2.5e-3),
}


def checkpoint(name: str) -> None:
    """Train a checkpoint and write it with its recipe and test accuracy."""
    import torch

    import fpgmlab as fl

    options, epochs, strength = CHECKPOINTS[name]
    extras = [fl.GammaL1(strength)] if strength else []
    torch.manual_seed(0)
    model = fl.models.build(**options)
    task = fl.tasks.fashion_mnist(holdout=HOLDOUT)
    fl.fit(model, task, epochs, keep="last", on_epoch=print, extras=extras, **RECIPE)
    results = {split: fl.evaluate(model, task, split=split) for split in ("val", "test")}
    data = f"fashion-mnist, the training images without {HOLDOUT} held out (fashion_mnist(holdout={HOLDOUT}))"
    notes = {"data": data, "epochs": epochs, "keep": "last", **RECIPE}
    notes["extras"] = [repr(extra) for extra in extras]
    fl.save(model, DATA / "checkpoints" / f"{name}.safetensors", {"training": notes, **results})
    print(name, results)


DETECTOR = {"lr": 2e-3, "optimizer": "adamw", "weight_decay": 0.02, "average": 0.99, "batch_size": 8, "seed": 0,
            "amp": "bfloat16"}  # fmt: skip
PASSES, DETECTOR_EPOCHS, PIXELS = 10, 20, 416  # through the training tiles in an epoch; epochs; side of the input


def yolov5n_trees() -> None:
    """Train YOLOv5n on the shipped trees, from random weights: nothing comes from the official ones."""
    from dataclasses import replace

    import torch
    from torch.utils.data import ConcatDataset

    import fpgmlab as fl

    augment = fl.tasks.BoxAugment(flip_vertical=0.5, scale=0.5, shift=0.2, colour=0.5, mosaic=0.5)
    task = fl.tasks.trees(size=PIXELS, augment=augment)
    long = replace(task, train=ConcatDataset([task.train] * PASSES))
    torch.manual_seed(0)
    model = fl.models.yolov5("n", classes=task.classes).to(memory_format=torch.channels_last)
    fl.fit(model, long, DETECTOR_EPOCHS, keep="last", on_epoch=print, **DETECTOR)
    result = fl.evaluate(model, task)
    notes = {"data": "trees, all 37 training tiles", "epochs": DETECTOR_EPOCHS * PASSES, "keep": "last", "size": PIXELS}
    notes |= {**DETECTOR, "augment": repr(augment)}
    fl.save(model, DATA / "checkpoints" / "yolov5n-trees.safetensors", {"training": notes, "test": result})
    print("yolov5n-trees", result)


# Sweeps: of the shipped networks, on the held-out pictures, so that a plan can be made at once.

SWEPT = ("resnet20-fashion", "vgg16-fashion")


def sweep(name: str, repaired: bool) -> None:
    """Measure how each channel group of a checkpoint bears pruning, as cut or repaired, and write the curves."""
    import fpgmlab as fl

    task = fl.tasks.fashion_mnist(holdout=HOLDOUT)
    graph = fl.trace(fl.models.load(name), task.example_input)
    stem = f"{name}-repaired" if repaired else name
    path = DATA / "cache" / f"{stem}-sweep"  # stopped, it goes on where it was
    curves = fl.sweep(graph, fl.score(graph, "fpgm"), task, repair=repaired, path=path)
    curves.save(DATA / "sweeps" / f"{stem}.parquet")
    print(name, curves)


def main() -> None:
    builders: dict[str, Callable[[], None]] = {"fashion-mnist": fashion_mnist, "trees": trees}
    builders |= {name: lambda name=name: checkpoint(name) for name in CHECKPOINTS}
    builders["yolov5n-trees"] = yolov5n_trees
    builders |= {f"{name}-sweep": lambda name=name: sweep(name, repaired=False) for name in SWEPT}
    builders |= {f"{name}-repaired-sweep": lambda name=name: sweep(name, repaired=True) for name in SWEPT}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(builders))
    builders[parser.parse_args().what]()


if __name__ == "__main__":
    main()

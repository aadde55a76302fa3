"""The data that ships: complete, as described, and split honestly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import fpgmlab as fl
from fpgmlab.checkpoints.weights import read_weights
from fpgmlab.common.files import data_dir

ACCURACY = {"resnet20-fashion": 0.935, "vgg16-fashion": 0.930, "vgg16-fashion-sparse": 0.922}


def test_all_of_fashion_mnist_is_there(fashion: fl.tasks.Classification):
    assert (len(fashion.train), len(fashion.val)) == (60_000, 10_000)
    assert fashion.example_input.shape == (1, 1, 28, 28)
    for data, each in ((fashion.train, 6_000), (fashion.val, 1_000)):
        assert torch.bincount(data.labels).tolist() == [each] * 10
    pixels = fashion.train.images.float() / 255
    assert float(pixels.mean()) == pytest.approx(0.2860, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=1e-4)


def test_one_item_and_a_batch_of_items_are_the_same(fashion: fl.tasks.Classification):
    batch = fashion.val.__getitems__([5, 3])
    for index, (image, label) in zip((5, 3), batch, strict=True):
        torch.testing.assert_close(image, fashion.val[index][0], rtol=0, atol=0)
        assert int(label) == int(fashion.val[index][1])


@pytest.fixture(scope="module", params=[1500, pytest.param(10_000, marks=pytest.mark.slow)])
def shown(request: pytest.FixtureRequest, fashion: fl.tasks.Classification) -> fl.tasks.Classification:
    """A part of the test pictures, or all."""
    return fashion.subset(val=request.param)


@pytest.fixture(scope="module")
def accuracies(shown: fl.tasks.Classification) -> dict[str, float]:
    return {name: fl.evaluate(fl.models.load(name), shown)["accuracy"] for name in ACCURACY}


@pytest.mark.parametrize("name", sorted(ACCURACY))
def test_checkpoints_reach_what_their_record_says(
    name: str, shown: fl.tasks.Classification, accuracies: dict[str, float]
):
    path = data_dir() / "checkpoints" / f"{name}.safetensors"
    assert path.stat().st_size <= 4e6
    notes = read_weights(path).record["notes"]
    assert notes["test"]["accuracy"] >= ACCURACY[name]
    whole = len(shown.val) == 10_000
    # A part of the pictures has as many right as the whole, within three standard errors.
    assert accuracies[name] == pytest.approx(notes["test"]["accuracy"], abs=5e-4 if whole else 0.02)
    assert notes["training"]["keep"] == "last"  # not chosen by the test images


def test_the_sparse_network_can_lose_three_fifths_of_its_channels(
    shown: fl.tasks.Classification, accuracies: dict[str, float]
):
    lost = {}
    for name in ("vgg16-fashion", "vgg16-fashion-sparse"):
        graph = fl.trace(fl.models.load(name), shown.example_input)
        plan = fl.Plan.global_threshold(graph, fl.score(graph, "bn_gamma"), 0.63)
        free = [group for group in graph.values() if group.protected is None]
        assert sum(len(plan.removed[g.name]) for g in free) >= 0.6 * sum(g.channels for g in free)
        lost[name] = accuracies[name] - fl.evaluate(fl.prune(graph, plan), shown)["accuracy"]
    assert lost["vgg16-fashion-sparse"] <= 0.003
    assert lost["vgg16-fashion"] > 0.5


@pytest.fixture(params=["train", "val"])
def trees(request: pytest.FixtureRequest) -> tuple[Path, dict]:
    folder = data_dir() / "trees"
    return folder, json.loads((folder / f"{request.param}.json").read_text())


def test_trees_have_boxes_within_their_tiles(trees: tuple[Path, dict]):
    folder, coco = trees
    images = {image["id"]: image for image in coco["images"]}
    assert len(images) >= 10
    assert len(coco["annotations"]) >= 300
    for image in coco["images"]:
        with Image.open(folder / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        assert min(picture.size) >= 200
        assert max(picture.size) <= 400
    for box in coco["annotations"]:
        x, y, width, height = box["bbox"]
        image = images[box["image_id"]]
        assert x >= 0
        assert y >= 0
        assert width > 0
        assert height > 0
        assert x + width <= image["width"]
        assert y + height <= image["height"]
        assert box["area"] == width * height


def test_no_source_image_of_trees_is_in_both_splits():
    folder = data_dir() / "trees"
    sources = [
        {image["source"] for image in json.loads((folder / f"{split}.json").read_text())["images"]}
        for split in ("train", "val")
    ]
    assert all(sources)
    assert not sources[0] & sources[1]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 6e6

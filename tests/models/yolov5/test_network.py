"""YOLOv5: the published sizes, official checkpoints read as data, and pruning that keeps what a detector needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.checkpoints.unpickling import Record, read_checkpoint
from fpgmlab.models.boxes import Decoded, decode, detect
from fpgmlab.models.yolov5.network import YOLOv5
from tests.checkpoints.made import fetched
from tests.checks import check_same
from tests.models.yolov5.made import NAMES, X, outputs
from tests.networks import busy


def free(graph: fl.ChannelGraph) -> list[str]:
    return [name for name, group in graph.items() if group.protected is None]


def random_plan(graph: fl.ChannelGraph, seed: int) -> fl.Plan:
    """Return a plan that removes a random part, up to 60 %, of every group, in no order that means anything."""
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(graph[name].channels, generator=generator) for name in free(graph)}
    ratios = {name: 0.6 * float(torch.rand((), generator=generator)) for name in scores}
    return fl.Plan.from_ratios(graph, scores, ratios)


# The architecture


@pytest.mark.parametrize(
    ("size", "release", "parameters"),
    [
        ("n", "6.x", 1_872_157),
        ("s", "6.x", 7_235_389),
        ("m", "6.x", 21_190_557),
        ("l", "6.x", 46_563_709),
        ("x", "6.x", 86_749_405),
        ("s", "5.0", 7_276_605),
        ("m", "5.0", 21_375_645),
        ("l", "5.0", 47_056_765),
        ("x", "5.0", 87_775_965),
    ],
)
def test_parameters_are_those_of_the_official_networks(size: str, release: str, parameters: int):
    with torch.device("meta"):
        model = YOLOv5(size, release=release)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("release", ["6.x", "5.0"])
@pytest.mark.parametrize("training", [True, False])
def test_raw_maps_have_a_cell_for_every_stride(release: str, training: bool):
    model = fl.models.yolov5("n", classes=NAMES, channels=1, width=0.5, release=release).train(training)
    maps = model(torch.rand(2, 1, 64, 96))
    assert [tuple(level.shape) for level in maps] == [(2, 21, 8, 12), (2, 21, 4, 6), (2, 21, 2, 3)]
    assert (model.names, model.strides) == (("tree", "shrub"), (8, 16, 32))
    assert model.anchors[1].tolist() == [[30, 61], [62, 45], [59, 119]]


def test_a_fresh_network_finds_next_to_nothing():
    model = fl.models.yolov5("n", classes=NAMES)
    objectness = [level.unflatten(1, (3, 7))[:, :, 4].sigmoid() for level in outputs(model)]
    assert sum(float(level.sum()) for level in objectness) < 3


def test_a_picture_of_an_odd_size_is_told():
    model = fl.models.yolov5("n")
    with pytest.raises(ValueError, match=r"multiples of 32; got \(64, 100\)\. fl\.models\.boxes\.letterbox"):
        model(torch.rand(1, 3, 64, 100))
    with pytest.raises(fl.TracingError, match=r"fl\.models\.boxes\.letterbox\(picture, size\) makes them so\. Pass an"):
        fl.trace(model, torch.rand(1, 3, 64, 100))
    assert callable(fl.models.boxes.letterbox)


def test_options_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="unknown size of YOLOv5 'z'"):
        fl.models.yolov5("z")
    with pytest.raises(ValueError, match="unknown size of YOLOv5 None"):
        fl.models.yolov5()
    with pytest.raises(ValueError, match="unknown release of YOLOv5 '6'"):
        fl.models.yolov5("n", release="6")
    with pytest.raises(ValueError, match="classes must be > 0; got 0"):
        fl.models.yolov5("n", classes=[])
    with pytest.raises(ValueError, match="a number or a list of names; got 'tree'"):
        fl.models.yolov5("n", classes="tree")
    with pytest.raises(ValueError, match=r"a number or a list of names; got 2\.0"):
        fl.models.yolov5("n", classes=2.0)
    with pytest.raises(ValueError, match=r"unknown size .* To read a file: yolov5\(weights='best\.pt'\)"):
        fl.models.yolov5("best.pt")
    with pytest.raises(ValueError, match=r"unknown model .* To read a file of YOLOv5: yolov5\(weights='best\.pt'\)"):
        fl.models.load("best.pt")
    with pytest.raises(ValueError, match="resnet20 takes a number of classes and no release"):
        fl.models.build("resnet20", release="5.0")


# Pruning


# Release 5.0 has one bottleneck more in model.4, and one without a shortcut in model.9.
@pytest.mark.parametrize(("size", "release", "groups"), [("n", "6.x", 50), ("s", "6.x", 50), ("s", "5.0", 52)])
def test_surgery_gives_what_simulation_says(size: str, release: str, groups: int):
    graph = fl.trace(busy(fl.models.yolov5(size, classes=NAMES, release=release)).eval(), X)
    assert len(free(graph)) == groups
    assert {f"model.24.m.{i}" for i in range(3)} == set(graph) - set(free(graph))
    for seed in range(2):
        assert fl.agreement(graph, random_plan(graph, seed)) < 1e-4


@pytest.fixture
def pruned() -> nn.Module:
    model = busy(fl.models.yolov5("n", classes=NAMES)).eval()
    model.model[-1].anchors.copy_(torch.arange(18.0).view(3, 3, 2) / 4 + 1)
    graph = fl.trace(model, X)
    return fl.prune(graph, random_plan(graph, 3))


def test_a_pruned_network_keeps_names_anchors_and_strides(pruned: nn.Module, tmp_path: Path):
    fl.save(pruned, tmp_path / "a.safetensors")
    loaded = fl.load(tmp_path / "a.safetensors")
    for model in (pruned, loaded):
        assert sum(p.numel() for p in model.parameters()) < 1_500_000
        assert (model.names, model.strides) == (("tree", "shrub"), (8, 16, 32))
        assert model.anchors[2, 2].tolist() == [32 * 5.0, 32 * 5.25]
    check_same(loaded, pruned, X)
    assert fl.provenance(loaded) == fl.provenance(pruned)
    again = fl.trace(loaded, X)
    assert fl.agreement(again, random_plan(again, 4)) < 1e-4


def test_release_5_comes_back_from_disk(tmp_path: Path):
    model = busy(fl.models.yolov5("n", classes=3, width=0.5, release="5.0"))
    fl.save(model, tmp_path / "a.safetensors")
    loaded = fl.load(tmp_path / "a.safetensors")
    check_same(loaded, model, X)


@pytest.mark.parametrize(
    ("opset", "exporter"), [pytest.param(None, "dynamo", marks=pytest.mark.slow), (13, "torchscript")]
)
def test_a_pruned_network_is_exported_with_its_raw_maps(
    pruned: nn.Module, tmp_path: Path, opset: int | None, exporter: str
):
    report = fl.export_onnx(pruned, X, tmp_path / "a.onnx", opset=opset, check_inputs=[X.repeat(2, 1, 1, 1)])
    assert report.exporter == exporter
    assert report.max_rel_error < 1e-4


@pytest.mark.parametrize("pixels", [64, 96])
def test_a_pruned_network_is_exported_with_its_boxes(pruned: nn.Module, tmp_path: Path, pixels: int):
    x = torch.rand(1, 3, 64, pixels)
    decoded = Decoded(pruned)
    report = fl.export_onnx(decoded, x, tmp_path / "a.onnx", opset=13, check_inputs=[x.repeat(2, 1, 1, 1)])
    assert report.max_rel_error < 1e-4
    assert torch.equal(decoded(x), decode(outputs(pruned, x), pruned.anchors, pruned.strides))
    assert decoded(x).shape == (1, 3 * 64 * pixels // 64 * (1 + 1 / 4 + 1 / 16), 7)
    told, made = fl.check_export(tmp_path / "a.onnx"), fl.provenance(pruned)
    assert (told.architecture, told.plans) == ("yolov5n", made.plans)
    assert told.channels_left == report.channels_left < 1
    assert fl.provenance(decoded) == made


def test_what_decodes_is_pruned_saved_and_loaded_like_any_network(pruned: nn.Module, tmp_path: Path):
    """Its groups and modules have other names than those of the network that it holds."""
    decoded = Decoded(pruned)
    graph = fl.trace(decoded, X)
    again = fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.3))
    for model, count in ((decoded, 1), (again, 2)):
        fl.save(model, tmp_path / "a.safetensors")
        whole = Decoded(fl.models.yolov5("n", classes=NAMES))
        loaded = fl.load(tmp_path / "a.safetensors", model=whole)
        with torch.no_grad():
            assert torch.equal(loaded(X), model(X))
        first, *_ = plans = fl.provenance(loaded).plans
        assert len(plans) == count
        assert set(first.widths) == set(fl.trace(whole, X))
        assert set(fl.provenance(loaded.model).plans[0].widths) == set(fl.trace(whole.model, X))


def test_what_cannot_be_decoded_is_told():
    with pytest.raises(TypeError, match=r"got Conv2d\. Networks of ultralytics' own .* export yolo\.model"):
        Decoded(nn.Conv2d(3, 4, 1))
    with pytest.raises(TypeError, match=r"model must be the network.*got the graph .*Give graph\.model"):
        Decoded(fl.trace(nn.Conv2d(3, 4, 1), X))


# The real file


@pytest.fixture(scope="module")
def coco() -> YOLOv5:
    fetched("yolov5s-coco")
    return fl.models.load("yolov5s-coco")


def modules_of(record: Record, path: str = "") -> Iterator[tuple[str, Record]]:
    yield path, record
    for name, child in record.state["_modules"].items():
        yield from modules_of(child, f"{path}.{name}".lstrip("."))


@pytest.mark.assets
def test_every_official_tensor_is_used_and_none_is_missing(coco: YOLOv5):
    state = fl.assets.state_dict("yolov5s-coco")
    assert set(state) - set(coco.state_dict()) == {"model.24.anchor_grid"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in coco.state_dict().items())
    assert sum(p.numel() for p in coco.parameters()) == 7_235_389
    assert (len(coco.names), coco.names[15]) == (80, "cat")
    assert fl.provenance(coco).architecture == "yolov5s"


@pytest.mark.assets
def test_every_layer_is_built_as_the_official_file_describes_it(coco: YOLOv5):
    mine = dict(coco.named_modules())
    described = dict(modules_of(read_checkpoint(fl.assets.fetch("yolov5s-coco"))["model"]))
    assert set(described) == set(mine)
    options = (
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "eps",
        "momentum",
        "add",
        "scale_factor",
        "mode",
    )
    compared = [
        (f"{path}.{option}", record.state[option], getattr(mine[path], option))
        for path, record in described.items()
        for option in options
        if option in record.state and path not in ("", "model.24")  # these keep strides as tensors
    ]
    assert len(compared) > 400
    assert [row for row in compared if row[1] != row[2]] == []


@pytest.mark.assets
@pytest.mark.parametrize("size", [320, 640])
def test_a_cat_is_found(coco: YOLOv5, size: int):
    from skimage.data import chelsea

    found = detect(coco, chelsea(), size)
    assert [coco.names[label] for label in found["labels"]] == ["cat"]
    assert float(found["scores"][0]) > 0.5
    assert found["boxes"][0].tolist() == pytest.approx([6, 2, 412, 296], abs=20)  # of 451 x 300
    assert len(detect(coco, np.full((300, 451, 3), 114, np.uint8), size)["labels"]) == 0


@pytest.mark.assets
def test_surgery_on_the_official_weights(coco: YOLOv5):
    graph = fl.trace(coco, X)
    assert len(free(graph)) == 50
    assert fl.agreement(graph, random_plan(graph, 0)) < 1e-4

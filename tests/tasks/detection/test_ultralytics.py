"""Detectors of ultralytics: what can be pruned in them, their boxes and their loss, the whole way with their data."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.models.boxes import clipped, corners
from fpgmlab.tasks import Detection, UltralyticsHead, UltralyticsMaps
from fpgmlab.tasks.detection.distributions import decode_distances
from fpgmlab.tasks.detection.heads import target_rows
from tests.checks import calibrate, difference, pictures, pruned_as_simulated, random_plan
from tests.foreign import surroundings_kept
from tests.networks import busy
from tests.tasks.detection.made import Squares, write_squares

with surroundings_kept():
    import ultralytics.utils
    from ultralytics.nn.tasks import ClassificationModel, DetectionModel

NAMES = ("yolov8n", "yolo11n", "yolo26n")
CLASSES = 3
# Two levels, strides 8 and 16, in the language of ultralytics.
TINY = {
    "nc": 2,
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "C2f", [32, True]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "SPPF", [32, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [-1, 1, "C2f", [32]],
        [[8, 5], 1, "Detect", ["nc"]],
    ],
}


def prepared(network: nn.Module) -> UltralyticsMaps:
    """Return a network with random weights in which every channel matters, in its wrapper."""
    model = busy(UltralyticsMaps(network)).eval()
    dfl = network.model[-1].dfl
    if isinstance(dfl, nn.Module) and hasattr(dfl, "conv"):  # its weights are 0, 1, 2, ...
        with torch.no_grad():
            dfl.conv.weight.copy_(torch.arange(float(dfl.conv.in_channels)).view(1, -1, 1, 1))
    calibrate(model, pictures(2))
    return model


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> UltralyticsMaps:
    torch.manual_seed(0)
    network = DetectionModel(f"{request.param}.yaml", nc=CLASSES, verbose=False)
    network.model[-1].end2end = False  # of YOLO26's two branches the first
    return prepared(network)


@pytest.fixture(scope="module")
def graph(model: UltralyticsMaps) -> fl.ChannelGraph:
    return fl.trace(model, pictures(2))


@pytest.fixture
def tiny() -> UltralyticsMaps:
    torch.manual_seed(0)
    return prepared(DetectionModel(copy.deepcopy(TINY), verbose=False))


def reasons(graph: fl.ChannelGraph) -> dict[str, str]:
    return {name: group.protected for name, group in graph.items() if group.protected}


def test_importing_it_leaves_nothing_behind():
    assert not ultralytics.utils.ONLINE
    assert not ultralytics.utils.USER_CONFIG_DIR.exists()
    assert torch.save.__module__ == "torch.serialization"
    assert "YOLO_OFFLINE" not in os.environ
    assert repr(np.array([0.5])) == "array([0.5])"


# What can be pruned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_simulated_and_pruned(graph: fl.ChannelGraph, seed: int):
    assert type(pruned_as_simulated(graph, seed).model) is DetectionModel


def test_only_what_the_head_says_is_protected(model: UltralyticsMaps, graph: fl.ChannelGraph):
    why = reasons(graph)
    last = f"model.model.{len(model.model.model) - 1}"
    assert all(name.startswith(last) for name in why)
    branches = ("cv2", "cv3", "one2one_cv2", "one2one_cv3") if "26" in model.model.yaml["yaml_file"] else ("cv2", "cv3")
    # The head's record of its number of classes counts the answers of all levels, which makes them one group.
    makers = {maker for name in why for maker in graph[name].producers}
    assert makers == {f"{last}.{branch}.{level}.2" for branch in branches for level in range(3)}
    assert all("is the model's output" in reason or "'view' asks for exactly" in reason for reason in why.values())
    if "v8" in model.model.yaml["yaml_file"]:
        assert graph["model.model.4.cv1.conv"].step == 2  # as many channels from each half of C2f
    else:  # halves of equal width, one of which runs through an attention of two heads
        halves = graph["model.model.10.cv1.conv"]
        assert "model.model.10.m.0.attn.qkv.conv" in halves.producers
        assert halves.channels == 130
        assert graph.reach > 0.99


def test_without_the_wrapper_its_inputs_are_protected_too(model: UltralyticsMaps, graph: fl.ChannelGraph):
    network, x = model.model, graph.example_input
    plain = fl.trace(network, x)
    more = {f"model.{name}" for name in reasons(plain)} - set(reasons(graph))
    levels = [f"model.model.{i}.cv2.conv" for i in network.model[-1].f]
    assert more - {f"model.model.{len(network.model) - 1}.dfl.conv"} == set(levels)
    assert all(plain[name.removeprefix("model.")].protected == "it is the model's output" for name in levels)
    plan = random_plan(plain, 0)
    small = fl.prune(plain, plan)
    with torch.no_grad():
        with fl.simulate(plain, plan):
            simulated = network(x)[1]
        assert difference(simulated, small(x)[1]) <= 1e-4


# Boxes and loss ------------------------------------------------------------------------------------------------------


def test_boxes_are_those_that_ultralytics_decodes(model: UltralyticsMaps):
    head, x = UltralyticsHead.of(model), pictures(2)
    assert head == UltralyticsHead(CLASSES, (8, 16, 32), end2end=False)
    with torch.no_grad():
        maps, (theirs, _) = model(x), model.model(x)
    ours = decode_distances(maps[:3], head.strides, head.classes)[..., [0, 1, 2, 3, 5, 6, 7]]
    torch.testing.assert_close(ours, theirs.mT, rtol=1e-4, atol=1e-3)


def test_boxes_without_suppression():
    torch.manual_seed(0)
    model, x = prepared(DetectionModel("yolo26n.yaml", nc=CLASSES, verbose=False)), pictures(2)
    model.model.model[-1].end2end = True
    head = UltralyticsHead.of(model)
    with torch.no_grad():
        maps, (theirs, _) = model(x), model.model(x)  # by score: left, top, right, bottom, score, class
    ours = decode_distances(maps[3:], head.strides, head.classes)
    scores, places = ours[..., 5:].flatten(1).topk(20)
    boxes = corners(ours).gather(1, (places // CLASSES)[..., None].expand(-1, -1, 4))
    ours = torch.cat((boxes, scores[..., None], places[..., None] % CLASSES), dim=2)
    torch.testing.assert_close(ours, theirs[:, :20], rtol=1e-4, atol=1e-3)
    found = replace(head, iou=1.0).detections(maps, 0.01)[0]
    (inside,) = clipped([{"boxes": boxes[0], "scores": scores[0], "labels": places[0] % CLASSES}], *x.shape[2:])
    assert 0 < len(inside["scores"]) < 20
    for name, tensor in inside.items():
        torch.testing.assert_close(found[name][: len(tensor)], tensor)


def test_a_class_alone_is_its_own_objectness():
    maps = (torch.randn(1, 4 * 4 + 1, 2, 2),)
    (one,), (two,) = (
        UltralyticsHead(classes, (8,)).detections((raw,), 0.01)
        for classes, raw in ((1, maps[0]), (2, torch.cat((maps[0], torch.full((1, 1, 2, 2), -50.0)), dim=1)))
    )
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name])


TARGETS = {
    "both": [[[1, 5, 5, 40, 40], [0, 1, 20, 50, 60]], [[2, 8, 8, 20, 30], [-1, -1, -1, -1, -1]]],
    "background": [[[1, 5, 5, 40, 40], [0, 1, 20, 50, 60]], [[-1] * 5] * 2],
    "nothing": [[[-1] * 5], [[-1] * 5]],
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_loss_is_ultralytics_own(model: UltralyticsMaps, targets: list):
    targets, x = torch.tensor(targets, dtype=torch.float32), pictures(2)
    rows = target_rows(targets)
    network = copy.deepcopy(model.model)
    network.args = ultralytics.utils.DEFAULT_CFG
    batch = {"img": x, "batch_idx": rows[:, 0], "cls": rows[:, 1], "bboxes": rows[:, 2:] / 64}
    with torch.no_grad():
        expected = network.loss(batch)[0].sum() / 2
        ours = UltralyticsHead.of(model).loss(model(x), targets)
    torch.testing.assert_close(ours, expected)


def test_the_same_maps_in_training_and_its_modes_are_left_alone(tiny: UltralyticsMaps):
    x = pictures(2)
    norms = [module for module in tiny.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 0.0
    evaluated = tiny(x)
    assert not any(module.training for module in tiny.modules())
    trained = tiny.train()(x)
    assert all(module.training for module in tiny.modules())
    assert [raw.shape for raw in trained] == [raw.shape for raw in evaluated] == [(2, 66, 8, 8), (2, 66, 4, 4)]
    with torch.no_grad():
        assert difference(trained, evaluated) > 1e-6  # norms by the batch
    sum(raw.square().mean() for raw in trained).backward()
    assert all(bool(p.grad.any()) for name, p in tiny.named_parameters() if "dfl" not in name)


def two_branches() -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel({**copy.deepcopy(TINY), "end2end": True}, verbose=False).eval()


def test_fused_to_the_branch_that_cannot_be_trained():
    said = r"fused with end2end = True: .* Load the network anew .* UltralyticsMaps before fuse.* same branch"
    network = two_branches()
    network.model[-1].end2end = True
    wrapped, x = UltralyticsMaps(network), pictures(1)
    assert len(wrapped(x)) == 4
    network.fuse(verbose=False)
    for attempt in (lambda: wrapped(x), lambda: UltralyticsMaps(network)):
        with pytest.raises(ValueError, match=said):
            attempt()


def test_fused_to_the_branch_that_is_trained_and_thawed():
    network = two_branches()
    network.model[-1].end2end = False
    x = pictures(2)
    wrapped = UltralyticsMaps(network)
    with torch.no_grad():
        expected = wrapped(x)[:2]
        network.fuse(verbose=False)
        assert difference(wrapped(x), expected) < 1e-4
    task = Detection(Squares(2), Squares(1), size=64, head=UltralyticsHead.of(wrapped), augment=None)
    options = {"epochs": 1, "batch_size": 2, "lr": 1e-3, "progress": False}
    before = copy.deepcopy(network.state_dict())
    with pytest.warns(UserWarning, match=r"\d\d% of the weights of UltralyticsMaps require no gradient .*ultralytics"):
        fl.fit(wrapped, task, **options)
    first = "model.0.conv.weight"
    assert torch.equal(network.state_dict()[first], before[first])
    wrapped.requires_grad_(True)
    fl.fit(wrapped, task, **options)
    assert not torch.equal(network.state_dict()[first], before[first])


# Files ---------------------------------------------------------------------------------------------------------------


def test_pruned_saved_and_exported(tiny: UltralyticsMaps, tmp_path: Path):
    x = pictures(2)
    graph = fl.trace(tiny, x)
    small = fl.prune(graph, random_plan(graph, 3))
    path = tmp_path / "small.safetensors"
    fl.save(small, path)
    with pytest.raises(ValueError, match="UltralyticsMaps: pass model=<a fresh instance of its class>"):
        fl.load(path)
    loaded = fl.load(path, model=UltralyticsMaps(DetectionModel(copy.deepcopy(TINY), verbose=False)))
    with torch.no_grad():
        assert difference(loaded(x), small(x)) == 0
        assert difference(loaded.model(x)[0], small.model(x)[0]) == 0  # decoded by ultralytics
    report = fl.export_onnx(small, x, tmp_path / "small.onnx", exporter="torchscript")
    assert report.max_rel_error < 1e-4


def test_the_network_within_knows_how_it_was_pruned(tiny: UltralyticsMaps, tmp_path: Path):
    x = pictures(2)
    graph = fl.trace(tiny, x)
    plan = random_plan(graph, 3)
    small = fl.prune(graph, plan).model
    assert fl.provenance(tiny.model).plans == ()
    (told,) = fl.provenance(small).plans
    assert set(told.widths) == {name.removeprefix("model.") for name in plan.widths}  # as tracing it alone calls them
    assert set(told.widths) == set(fl.trace(tiny.model, x))
    assert list(told.removed.values()) == list(plan.removed.values())
    report = fl.export_onnx(small, x, tmp_path / "small.onnx", exporter="torchscript")
    kept, all_of_them = sum(plan.kept.values()), sum(plan.widths.values())
    assert report.channels_left == kept / all_of_them
    assert fl.check_export(tmp_path / "small.onnx").plans == (told,)
    # Pruned on, in another wrapper, it has both plans by the wrapper's names.
    more = fl.trace(UltralyticsMaps(small), x)
    assert fl.provenance(fl.prune(more, fl.Plan.uniform(more, fl.score(more, "l2"), 0.2))).plans[0] == plan
    # Nothing of fpgmlab is in it, so that ultralytics' file is read where there is none.
    assert b"fpgmlab." not in pickle.dumps(small)
    assert fl.provenance(pickle.loads(pickle.dumps(small))) == fl.provenance(small)


def test_a_network_for_other_classes_is_told_at_once_with_a_way_to_get_one(monkeypatch: pytest.MonkeyPatch):
    model = UltralyticsMaps(DetectionModel(copy.deepcopy(TINY), nc=80, verbose=False))
    task = Detection(Squares(), Squares(), size=64, head=UltralyticsHead.of(model))
    monkeypatch.setattr(Squares, "__getitem__", None)  # nothing is read
    with pytest.raises(
        ValueError, match=r"has 80 classes, the task 2: build .*DetectionModel\(\"yolo11n.yaml\", nc=2\)"
    ):
        fl.fit(model, task, progress=False)


def test_its_classes_are_held_against_the_tasks(tiny: UltralyticsMaps):
    task = Detection(Squares(), Squares(), size=64, head=UltralyticsHead.of(tiny))
    task.check_network(tiny)  # it only counts its classes
    tiny.model.names = {0: "green", 1: "red"}
    with pytest.raises(
        ValueError, match="'green', 'red', the task's 'red', 'green', in another order.*Number the classes"
    ):
        fl.evaluate(tiny, task)


def test_what_decodes_by_itself_is_not_decoded(tiny: UltralyticsMaps):
    with pytest.raises(TypeError, match=r"got UltralyticsMaps\. .*ultralytics' own decode by themselves: export yolo"):
        fl.models.boxes.Decoded(tiny)


# The whole way -------------------------------------------------------------------------------------------------------


def test_sweep_allocate_prune_fit_evaluate(tiny: UltralyticsMaps, tmp_path: Path):
    data = write_squares(tmp_path, 16)
    train, val = (fl.tasks.yolo_boxes(data, split) for split in ("train", "val"))
    task = Detection(train, val, size=64, head=UltralyticsHead.of(tiny), augment=None)
    graph = fl.trace(tiny, task.example_input)
    curves = fl.sweep(graph, fl.score(graph, "fpgm"), task, ratios=[0.5], max_samples=4, progress=False)
    values = curves.frame.query("ratio > 0").groupby("metric")["value"]
    assert set(values.groups) == {"agreement_map50", "change"}
    assert bool(np.isfinite(curves.frame["value"]).all())
    assert 0 <= values.min()["agreement_map50"] < 1
    assert values.min()["change"] > 0
    assert curves.base["agreement_map50"] == 1

    plan = fl.allocate(graph, curves, macs=0.6, multiple=8)
    assert graph.cost(plan).macs <= 0.6 * graph.cost().macs
    small = fl.prune(graph, plan)
    before = fl.evaluate(small, task)
    history = fl.fit(
        small, task, epochs=10, lr=0.01, optimizer="adamw", batch_size=4, keep="last", progress=False,
        extras=[fl.Distill(tiny, weight=1e-3)],
    )  # fmt: skip
    fl.recalibrate(small, task)
    after = fl.evaluate(small, task)
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]
    assert after["loss"] < 0.5 * before["loss"]
    assert set(after) == {"loss", "map50", "samples"}
    each = task.loss(small(task.example_input), next(task.val_batches(1))[1], reduction="none")
    assert each.shape == (1,)


# Bad input -----------------------------------------------------------------------------------------------------------


def test_other_networks_are_refused(tiny: UltralyticsMaps):
    for other in (ClassificationModel("yolov8n-cls.yaml", nc=3, verbose=False), nn.Conv2d(3, 4, 1), tiny):
        with pytest.raises(TypeError, match=f"with a detection head.*got {type(other).__name__}"):
            UltralyticsMaps(other)


def test_outputs_of_the_network_itself_are_refused(tiny: UltralyticsMaps):
    head, targets = UltralyticsHead.of(tiny.model), torch.tensor([[[1.0, 5, 5, 40, 40]]])
    assert head == UltralyticsHead.of(tiny)
    for outputs in (tiny.model(pictures(1)), tiny(pictures(1))[:1], Tensor()):
        with pytest.raises(TypeError, match=r"raw maps of 2 levels.*UltralyticsMaps\(network\)"):
            head.loss(outputs, targets)
        with pytest.raises(TypeError, match="raw maps of 2 levels"):
            head.detections(outputs, 0.5)


def test_without_the_package_it_says_what_to_install(tiny: UltralyticsMaps, monkeypatch: pytest.MonkeyPatch):
    maps = tiny(pictures(1))
    monkeypatch.setitem(sys.modules, "ultralytics.utils", None)
    with pytest.raises(ImportError, match=r"fpgmlab\[ultralytics\].*AGPL-3.0"):
        UltralyticsHead.of(tiny).loss(maps, torch.tensor([[[1.0, 5, 5, 40, 40]]]))


@pytest.mark.parametrize("name", NAMES)
def test_what_an_export_splits_by_is_cut_as_well(name: str, tmp_path: Path):
    torch.manual_seed(0)
    model = prepared(DetectionModel(f"{name}.yaml", nc=CLASSES, verbose=False))
    graph = fl.trace(model, pictures(2))
    small = fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "random"), 0.4, multiple=1))
    fl.save(small, tmp_path / "small.safetensors")
    whole = UltralyticsMaps(DetectionModel(f"{name}.yaml", nc=CLASSES, verbose=False))
    for pruned in (small, fl.load(tmp_path / "small.safetensors", model=whole)):
        with torch.no_grad():
            wanted = pruned(pictures(2))
            halved = [module for module in pruned.modules() if hasattr(module, "forward_split")]
            for module in halved:  # as ultralytics does before an export
                module.forward = module.forward_split
            assert halved
            assert difference(pruned(pictures(2)), wanted) == 0

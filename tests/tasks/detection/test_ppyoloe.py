"""PP-YOLOE of libreyolo: what can be pruned, its two forms of RepVGG blocks, its boxes and its loss, the whole way."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.models.boxes import corners
from fpgmlab.tasks import Detection, PPYOLOEHead, PPYOLOEMaps
from fpgmlab.tasks.detection.distributions import decode_distances
from fpgmlab.tasks.detection.heads import target_rows
from tests.checks import calibrate, difference, pictures, pruned_as_simulated, random_plan
from tests.foreign import surroundings_kept
from tests.networks import busy
from tests.tasks.detection.made import Squares

with surroundings_kept():
    from libreyolo.models.ppyoloe.nn import LibrePPYOLOEModel
    from libreyolo.models.yolonas.loss import PPYoloELoss

CLASSES = 2
SAID = {f"model.head.{kind}.{level}" for kind in ("pred_cls", "pred_reg") for level in range(3)}


@pytest.fixture(scope="module")
def model() -> PPYOLOEMaps:
    torch.manual_seed(0)
    model = busy(PPYOLOEMaps(LibrePPYOLOEModel("s", nb_classes=CLASSES))).eval()
    for name, values in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225))):
        assert torch.equal(getattr(model, name).flatten(), torch.tensor(values))
    calibrate(model, pictures(2))
    return model


@pytest.fixture(scope="module")
def fused(model: PPYOLOEMaps) -> PPYOLOEMaps:
    return PPYOLOEMaps(copy.deepcopy(model.model).fuse_reparam()).eval()


@pytest.mark.parametrize("form", ["model", "fused"])
def test_simulated_and_pruned(form: str, request: pytest.FixtureRequest):
    graph = fl.trace(request.getfixturevalue(form), pictures(2))
    assert len(graph) == 60
    assert {name for name, group in graph.items() if group.protected} == SAID
    for seed in (0, 1):
        pruned_as_simulated(graph, seed)


def test_pruned_blocks_can_be_fused(model: PPYOLOEMaps, fused: PPYOLOEMaps):
    x = pictures(2)
    graph = fl.trace(model, x)
    small = fl.prune(graph, random_plan(graph, 2))
    with torch.no_grad():
        assert difference(fused(x), model(x)) < 1e-4
        expected = small(x)
        small.model.fuse_reparam()
        assert difference(small(x), expected) < 1e-4


def test_fused_blocks_are_not_trained_and_fit_says_so(fused: PPYOLOEMaps):
    task = Detection(Squares(2), Squares(2), size=64, head=PPYOLOEHead.of(fused), augment=None)
    still = [name for name, parameter in fused.named_parameters() if not parameter.requires_grad]
    assert len(still) == 22
    said = rf"19% of the weights of PPYOLOEMaps .* {len(still)} tensors, the first '{still[0]}'.*libreyolo"
    with pytest.warns(UserWarning, match=said):
        fl.fit(fused, task, progress=False, stop=lambda: True)


def test_without_the_wrapper_the_same_is_protected(model: PPYOLOEMaps):
    graph = fl.trace(model.model, pictures(1))
    why = {name: group.protected for name, group in graph.items() if group.protected}
    # The head's record of its number of classes counts the answers of all levels, which makes them one group.
    assert {f"model.{maker}" for name in why for maker in graph[name].producers} == SAID
    assert why["head.pred_cls.0"] == "it is the model's output"
    assert "'reshape' arranges its channels in rows" in why["head.pred_reg.0"]


def test_boxes_and_loss_are_libreyolos_own(model: PPYOLOEMaps):
    head, x = PPYOLOEHead.of(model), pictures(2)
    assert head == PPYOLOEHead.of(model.model) == PPYOLOEHead(CLASSES, (32, 16, 8))
    targets = torch.tensor([[[1.0, 5, 5, 40, 40], [0, 1, 20, 50, 60]], [[-1] * 5, [0, 8, 8, 20, 30]]])
    with torch.no_grad():
        maps = model(x)
        (boxes, scores), said = model.model((x - model.mean) / model.deviation)
        decoded = decode_distances(maps, head.strides, CLASSES)
        torch.testing.assert_close(corners(decoded), boxes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(decoded[..., 5:], scores)
        for some in (targets, torch.full((2, 1, 5), -1.0)):
            expected, _ = PPYoloELoss(CLASSES, distributed_normalize=False)(said, target_rows(some))
            torch.testing.assert_close(head.loss(maps, some), expected)


def test_sweep_allocate_prune_fit_evaluate(model: PPYOLOEMaps, tmp_path: Path):
    task = Detection(Squares(4), Squares(4), size=64, head=PPYOLOEHead.of(model), augment=None)
    graph = fl.trace(model, task.example_input)
    curves = fl.sweep(
        graph, fl.score(graph, "fpgm"), task, metrics="change", ratios=[0.5], max_samples=1, progress=False
    )
    assert bool((curves.frame.query("ratio > 0")["value"] > 0).all())
    plan = fl.allocate(graph, curves, macs=0.3, multiple=8)
    assert graph.cost(plan).macs <= 0.3 * graph.cost().macs
    small = fl.prune(graph, plan)
    before = fl.evaluate(small, task)
    history = fl.fit(
        small, task, epochs=4, lr=0.003, optimizer="adamw", batch_size=4, keep="last", progress=False,
        extras=[fl.Distill(model, weight=1e-3)],
    )  # fmt: skip
    fl.recalibrate(small, task)
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]
    assert fl.evaluate(small, task)["loss"] < 0.5 * before["loss"]

    x = pictures(2)
    fl.save(small, tmp_path / "small.safetensors")
    loaded = fl.load(
        tmp_path / "small.safetensors", model=PPYOLOEMaps(LibrePPYOLOEModel("s", nb_classes=CLASSES))
    ).eval()
    with torch.no_grad():
        # Tensors of a file do not begin at multiples of 64 bytes in memory, as new ones do: a product of a 1x1 map
        # takes another kernel, which rounds otherwise. The weights themselves are the same to the last bit.
        assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in small.state_dict().items())
        assert difference(loaded(x), small.eval()(x)) < 1e-5
    report = fl.export_onnx(small, x, tmp_path / "small.onnx", exporter="torchscript")
    assert report.max_rel_error < 1e-4


def test_bad_input(model: PPYOLOEMaps, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(TypeError, match="LibrePPYOLOEModel; got Conv2d"):
        PPYOLOEMaps(nn.Conv2d(3, 4, 1))
    head, targets, x = PPYOLOEHead.of(model), torch.tensor([[[1.0, 5, 5, 40, 40]]]), pictures(1)
    with torch.no_grad(), pytest.raises(TypeError, match=r"raw maps of 3 levels.*PPYOLOEMaps\(network\)"):
        head.loss(model.model(x), targets)
    maps = model(x)
    monkeypatch.setitem(sys.modules, "libreyolo.models.yolonas.loss", None)
    with pytest.raises(ImportError, match=r"pip install 'fpgmlab\[ppyoloe\]'"):
        head.loss(maps, targets)

"""From trace to ONNX on the families that came last: attention by heads, windows, norms over channels, YOLO11."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from tests.surgery.test_brought import alive
from tests.whole_way import outputs_of

PICTURES = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def deit() -> nn.Module:
    return timm.create_model("deit_tiny_patch16_224", img_size=32, num_classes=7)


def swin() -> nn.Module:
    return SwinTransformer(
        img_size=32, patch_size=2, embed_dim=24, depths=(2, 2), num_heads=(3, 6), window_size=4, num_classes=7
    )


def convnext_v2() -> nn.Module:
    return timm.create_model("convnextv2_atto", num_classes=7)


def vision_transformer() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=7
    )


@pytest.mark.parametrize(
    ("build", "group", "unit", "most"),
    [
        pytest.param(vision_transformer, "conv_proj", 16, 0.9),  # half of the stream goes, of noise
        pytest.param(deit, "blocks.0.attn.qkv", 64, 0.7, marks=pytest.mark.slow),
        pytest.param(swin, "layers.0.blocks.1.attn.qkv", 8, 0.7, marks=pytest.mark.slow),
        pytest.param(convnext_v2, "stages.0.blocks.0.mlp.fc1", 1, 0.7, marks=pytest.mark.slow),
    ],
)
def test_the_whole_workbench(build: Callable[[], nn.Module], group: str, unit: int, most: float, tmp_path: Path):
    torch.manual_seed(0)
    model = alive(build(), PICTURES[:1])
    data = TensorDataset(PICTURES, torch.arange(64) % 7)
    task = fl.tasks.Classification(train=data, val=data, classes=[str(i) for i in range(7)])
    graph = fl.trace(model, PICTURES[:1])
    assert graph[group].protected is None
    assert graph[group].unit == unit
    curves = fl.sweep(
        graph, fl.score(graph), task, ratios=(0.34, 0.67), max_samples=8, repair=True, repair_samples=64, progress=False
    )
    assert set(curves.frame["group"]) == {name for name, each in graph.items() if each.protected is None}
    plan = fl.allocate(graph, curves, macs=0.6)
    assert graph.cost(plan).macs <= 0.6 * graph.cost().macs
    whole, cut = outputs_of(model, PICTURES)[0], outputs_of(fl.prune(graph, plan), PICTURES)[0]
    repaired = fl.repair(graph, plan, task, samples=64, progress=False)
    assert error(repaired, whole) < most * float((cut - whole).norm())
    fl.save(repaired, tmp_path / "small.safetensors")
    again = fl.load(tmp_path / "small.safetensors", model=build())
    assert torch.equal(outputs_of(again, PICTURES)[0], outputs_of(repaired, PICTURES)[0])
    fl.export_onnx(repaired, PICTURES[:1], tmp_path / "small.onnx")  # held against ONNX Runtime there
    assert (tmp_path / "small.onnx").exists()


def error(model: nn.Module, whole: Tensor) -> float:
    return float((outputs_of(model, PICTURES)[0] - whole).norm())

"""Detectors that people bring along: what can be pruned in them, what cannot and why; simulation against surgery."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection

import fpgmlab as fl
from tests.checks import calibrate, counted_macs, difference, free, pictures, pruned_as_simulated, random_plan
from tests.networks import busy

NO_WEIGHTS = {"weights": None, "weights_backbone": None, "num_classes": 4}
SMALL = {"min_size": 64, "max_size": 64}
TORCHVISION = {
    "ssdlite": lambda: detection.ssdlite320_mobilenet_v3_large(**NO_WEIGHTS),
    "retinanet": lambda: detection.retinanet_resnet50_fpn(**NO_WEIGHTS, **SMALL),
    "faster_rcnn": lambda: detection.fasterrcnn_resnet50_fpn(**NO_WEIGHTS, **SMALL, box_score_thresh=0.0),
}


@pytest.fixture(scope="module", params=TORCHVISION)
def detector(request: pytest.FixtureRequest) -> nn.Module:
    """A detector with random weights, and running statistics of a picture, so that every channel matters."""
    torch.manual_seed(0)
    model = busy(TORCHVISION[request.param]()).eval()
    for name, buffer in model.named_buffers():  # a frozen batch norm's scale and shift are buffers
        if name.endswith("weight"):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("bias"):
            buffer.uniform_(-0.5, 0.5)
    calibrate(model, [pictures(1)[0]])
    return model


@pytest.fixture(scope="module")
def graph(detector: nn.Module) -> fl.ChannelGraph:
    return fl.trace(detector, list(pictures(2)))


def raw(model: nn.Module, head: str, example: object) -> object:
    """Return what a detector's head gives, before boxes are sorted and thrown away."""
    seen: list[object] = []
    handle = model.get_submodule(head).register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        model(example)
    handle.remove()
    return seen


# torchvision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_whole_detector(detector: nn.Module, graph: fl.ChannelGraph, seed: int):
    example = graph.example_input
    plan = random_plan(graph, seed)
    small = fl.prune(graph, plan)
    head = "rpn.head" if hasattr(detector, "rpn") else "head"
    with fl.simulate(graph, plan):
        simulated = raw(detector, head, example)
    pruned = raw(small, head, example)
    assert difference(simulated, pruned) <= 1e-4
    assert difference(raw(detector, head, example), pruned) > 1e-2
    assert graph.cost(plan).params == sum(p.numel() for p in small.parameters())
    assert all(set(found) == {"boxes", "labels", "scores"} for found in small(example))


def test_groups_of_the_whole_detector(graph: fl.ChannelGraph):
    why = {name: group.protected for name, group in graph.items() if group.protected}
    if isinstance(graph.model, detection.FasterRCNN):
        pyramid = "backbone.fpn.layer_blocks.3.0"
        assert set(why) == {
            pyramid,
            "rpn.head.cls_logits",
            "roi_heads.box_predictor.bbox_pred",
        }
        assert "shapes another tensor through 'zeros' in 'roi_heads.box_roi_pool'" in why[pyramid]
        assert "in 'rpn'" in why["rpn.head.cls_logits"]
        anchors = ("rpn.head.cls_logits", "rpn.head.bbox_pred")  # and what is as many as they are in the code
        assert graph["rpn.head.cls_logits"].producers == (*anchors, "roi_heads.box_predictor.cls_score")
    elif isinstance(graph.model, detection.RetinaNet):
        assert set(why) == {"head.classification_head.cls_logits"}
        both = graph["head.classification_head.cls_logits"]  # boxes are split by how many scores there are
        assert both.producers == ("head.classification_head.cls_logits", "head.regression_head.bbox_reg")
    else:
        heads = ("classification_head", "regression_head")
        assert set(why) == {f"head.{head}.module_list.{i}.1" for head in heads for i in range(6)}
    assert len(free(graph)) == len(graph) - len(why) >= 37


def test_the_backbone_alone(detector: nn.Module):
    x = pictures(2)
    graph = fl.trace(detector.backbone, x)
    assert len(free(graph)) >= 31
    assert {graph[n].protected for n in graph} == {None, "it is the model's output"}
    plan = random_plan(graph, 2)
    small = fl.prune(graph, plan)
    with torch.no_grad():
        with fl.simulate(graph, plan):
            simulated = detector.backbone(x)
        pruned = small(x)
        assert difference(simulated, pruned) <= 1e-4
        assert difference(detector.backbone(x), pruned) > 1e-2
    for model, chosen in ((detector.backbone, None), (small, plan)):
        with counted_macs(model, len(x)) as macs, torch.no_grad():
            model(x)
        assert graph.cost(chosen).macs == macs[0]


def test_pictures_in_a_list_are_examples(detector: nn.Module, graph: fl.ChannelGraph):
    one, two = fl.trace(detector, list(pictures(1))).cost().macs, graph.cost().macs
    # Faster R-CNN looks at as many boxes as it finds in each picture.
    assert two == pytest.approx(one, rel=0.2 if hasattr(detector, "rpn") else 0)
    keywords = fl.trace(detector, {"images": list(pictures(2))}).cost().macs
    assert keywords == two


# A detector as YOLOv8 builds it --------------------------------------------------------------------------------------


class ConvBlock(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)), inplace=True)


class SplitBlock(nn.Module):
    """Two halves, one of which goes on through bottlenecks; all stages are concatenated."""

    def __init__(self, inputs: int, outputs: int, shortcut: bool, by_attribute: bool = False) -> None:
        super().__init__()
        self.half = outputs // 2
        self.by_attribute = by_attribute
        self.shortcut = shortcut
        self.first = ConvBlock(inputs, outputs)
        self.inner = nn.ModuleList(
            nn.Sequential(ConvBlock(self.half, self.half, 3), ConvBlock(self.half, self.half, 3)) for _ in range(2)
        )
        self.last = ConvBlock(4 * self.half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        parts = list(x.split((self.half, self.half), 1) if self.by_attribute else x.chunk(2, 1))
        for block in self.inner:
            parts.append(block(parts[-1]) + parts[-1] if self.shortcut else block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class PyramidPooling(nn.Module):
    """Three poolings in a row, concatenated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = ConvBlock(channels, channels // 2), ConvBlock(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.last(torch.cat(parts, 1))


class DistributionHead(nn.Module):
    """Each side of a box as a distribution over bins, whose mean is taken by a softmax and a fixed convolution."""

    bins, classes = 4, 3

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.boxes = nn.ModuleList(nn.Sequential(ConvBlock(c, 8, 3), nn.Conv2d(8, 4 * self.bins, 1)) for c in widths)
        self.scores = nn.ModuleList(nn.Sequential(ConvBlock(c, 8, 3), nn.Conv2d(8, self.classes, 1)) for c in widths)
        self.mean = nn.Conv2d(self.bins, 1, 1, bias=False)
        self.mean.weight.requires_grad_(False)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        branches = zip(self.boxes, self.scores, levels, strict=True)
        found = [torch.cat([box(x), score(x)], 1) for box, score, x in branches]
        flat = torch.cat([x.view(x.shape[0], 4 * self.bins + self.classes, -1) for x in found], 2)
        boxes, scores = flat.split((4 * self.bins, self.classes), 1)
        n, _, places = boxes.shape
        sides = boxes.view(n, 4, self.bins, places).transpose(2, 1).softmax(1)
        return self.mean(sides).view(n, 4, places), scores.sigmoid()


class Yolo(nn.Module):
    """Two strides, a top-down and a bottom-up way."""

    def __init__(self, by_attribute: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(3, 8, 3, 2), ConvBlock(8, 16, 3, 2))
        self.shallow = SplitBlock(16, 16, True)
        self.deep = nn.Sequential(ConvBlock(16, 24, 3, 2), SplitBlock(24, 24, True, by_attribute), PyramidPooling(24))
        self.down = SplitBlock(40, 16, False)
        self.stride = ConvBlock(16, 16, 3, 2)
        self.up = SplitBlock(40, 24, False)
        self.head = DistributionHead((16, 24))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self.shallow(self.stem(x))
        deep = self.deep(shallow)
        fine = self.down(torch.cat([F.interpolate(deep, scale_factor=2), shallow], 1))
        coarse = self.up(torch.cat([self.stride(fine), deep], 1))
        return self.head([fine, coarse])


def yolo(**options: bool) -> Yolo:
    torch.manual_seed(0)
    model = busy(Yolo(**options)).eval()
    calibrate(model, pictures(2))
    return model


@pytest.mark.parametrize("seed", range(4))
def test_yolo_simulated_and_pruned(seed: int):
    pruned_as_simulated(fl.trace(yolo(), pictures(2)), seed)


def test_yolo_protects_its_head_alone():
    graph = fl.trace(yolo(), pictures(1))
    out = {name for name, group in graph.items() if group.protected}
    assert out == {"head.boxes.0.1", "head.scores.0.1", "head.mean"}  # what all levels answer stands side by side
    assert graph["head.boxes.0.1"].producers == ("head.boxes.0.1", "head.boxes.1.1")
    assert all("'head'" in graph[name].protected for name in out - {"head.mean"})
    for block in ("shallow", "deep.1", "down", "up"):  # as many channels from each half
        assert graph[f"{block}.first.conv"].step == 2


def test_halves_by_an_attribute_are_cut_like_those_of_a_chunk():
    graph, others = fl.trace(yolo(by_attribute=True), pictures(1)), fl.trace(yolo(), pictures(1))
    assert {name: group.step for name, group in graph.items()} == {name: group.step for name, group in others.items()}
    assert set(free(graph)) == set(free(others))
    pruned_as_simulated(graph, 0)


# What cannot be pruned in a network built for it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "decode",
    [
        lambda x: x.flatten(1).sort().values[:, :3],
        lambda x: torchvision.ops.nms(x.flatten(2).mT[0, :, :4].abs().cumsum(1), x[0, 0].flatten(), 0.5),
    ],
    ids=["sorted", "nms"],
)
def test_what_decodes_protects_the_layer_before_it(decode: Callable[[Tensor], Tensor]):
    class Decoded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = ConvBlock(3, 8, 3), nn.Conv2d(8, 6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return decode(self.head(self.body(x)))

    torch.manual_seed(0)
    graph = fl.trace(busy(Decoded()), pictures(1))
    assert graph["body.conv"].protected is None
    assert graph["head"].protected

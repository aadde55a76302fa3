"""Official checkpoints of YOLOv5 as data: what they hold is found out, and nothing in them is executed."""

from __future__ import annotations

import argparse
import math
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.models.yolov5.checkpoint import read_yolov5
from fpgmlab.models.yolov5.network import YOLOv5
from tests.checks import check_same
from tests.models.yolov5.made import NAMES, X, official, outputs
from tests.networks import busy
from tests.noted import CALLED, Call, noted


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(("size", "release"), [("n", "6.x"), ("n", "5.0"), ("s", "6.x")])
def test_a_checkpoint_tells_what_it_is(tmp_path: Path, size: str, release: str, average: bool):
    model = busy(fl.models.yolov5(size, classes=2, release=release))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(tensor.half())
    torch.save(official(model, {1: "shrub", 0: "tree"}, average), tmp_path / "best.pt")
    loaded = fl.models.yolov5(weights=tmp_path / "best.pt")
    assert not loaded.training
    assert loaded.names == ("tree", "shrub")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    check_same(loaded, model, X)
    record = fl.provenance(loaded)
    assert (record.architecture, record.options["release"]) == (f"yolov5{size}", release)
    assert record.options["classes"] == ["tree", "shrub"]


def test_a_state_dict_is_read_too_and_has_numbers_for_names(tmp_path: Path):
    model = busy(fl.models.yolov5("n", classes=NAMES, channels=4))
    torch.save(model.state_dict(), tmp_path / "a.pt")
    found = read_yolov5(tmp_path / "a.pt")
    assert (found.size, found.release, found.channels, found.names) == ("n", "6.x", 4, ("0", "1"))
    assert torch.equal(
        fl.models.yolov5("n", weights=tmp_path / "a.pt").model[3].conv.weight, model.model[3].conv.weight
    )


def test_other_classes_get_new_rows_and_boxes_keep_the_trained_ones(tmp_path: Path):
    model = busy(fl.models.yolov5("n", classes=NAMES))
    torch.save(model.state_dict(), tmp_path / "a.pt")
    with pytest.warns(UserWarning, match="4 of 4 classes have new, untrained rows in the head: 'a', 'b', 'c', 'd'"):
        other = fl.models.yolov5(weights=tmp_path / "a.pt", classes=["a", "b", "c", "d"])
    assert other.names == ("a", "b", "c", "d")
    for old, new in zip(outputs(model), outputs(other), strict=True):
        torch.testing.assert_close(new.unflatten(1, (3, 9))[:, :, :5], old.unflatten(1, (3, 7))[:, :, :5])


@pytest.mark.parametrize(
    ("known", "wanted", "names", "source"),
    [
        ("cat dog cow", ["dog", "Cat", "fox"], "dog Cat fox", [1, 0, None]),  # another order, capitals
        ("cat dog cow", ["cow"], "cow", [2]),
        ("cat dog", 2, "cat dog", [0, 1]),
        ("0 1", ["cat", "dog"], "cat dog", [0, 1]),  # a file without names
        ("cat dog", 3, "0 1 2", [None] * 3),
        ("cat", ["cat", "dog"], "cat dog", [None, None]),  # a single class is not trained
    ],
)
def test_classes_are_known_by_name(tmp_path: Path, known: str, wanted: list | int, names: str, source: list):
    known = known.split()
    model = busy(fl.models.yolov5("n", classes=known)).half().float()
    torch.save(official(model, known), tmp_path / "a.pt")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        other = fl.models.yolov5(weights=tmp_path / "a.pt", classes=wanted)
    assert other.names == tuple(names.split())
    fresh = [name for name, place in zip(other.names, source, strict=True) if place is None]
    words = f"{len(fresh)} of {len(source)} classes have new, untrained rows in the head: {str(fresh)[1:-1]}. They "
    assert [str(each.message).startswith(words) for each in told] == [True] * bool(fresh)
    assert all(each.filename == __file__ for each in told)
    assert bool(told and "another number of classes keeps none" in str(told[0].message)) == (wanted == 3)
    assert bool(told and "whose row YOLOv5 does not train" in str(told[0].message)) == (known == ["cat"])
    for old, new in zip(outputs(model), outputs(other), strict=True):
        old, new = old.unflatten(1, (3, -1)), new.unflatten(1, (3, -1))
        torch.testing.assert_close(new[:, :, :5], old[:, :, :5], rtol=1e-4, atol=1e-4)  # other widths, other kernels
        for number, place in enumerate(source):
            mine = new[:, :, 5 + number]
            same = [torch.allclose(mine, old[:, :, 5 + n], rtol=1e-4, atol=1e-4) for n in range(len(known))]
            assert same == [n == place for n in range(len(known))]


def test_the_shipped_detector_takes_other_classes():
    shipped = fl.models.load("yolov5n-trees")
    with pytest.warns(
        UserWarning, match=r"rows in the head: 'oak', 'fir'\. .*: the weights know 'tree', a single class"
    ):
        other = fl.models.load("yolov5n-trees", classes=["oak", "fir"])
    assert (shipped.names, other.names) == (("tree",), ("oak", "fir"))
    for old, new in zip(outputs(shipped), outputs(other), strict=True):
        torch.testing.assert_close(new.unflatten(1, (3, 7))[:, :, :5], old.unflatten(1, (3, 6))[:, :, :5])
    with pytest.raises(ValueError, match="only a detector takes other classes; 'resnet20-fashion' is resnet20"):
        fl.models.load("resnet20-fashion", classes=3)


def test_what_the_checkpoint_is_not_cannot_be_asked_for(tmp_path: Path):
    torch.save(fl.models.yolov5("n", classes=2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(
        ValueError, match=r"is YOLOv5n of release 6\.x for 3 channels; asked for size 's', release '5\.0'"
    ):
        fl.models.yolov5("s", weights=tmp_path / "a.pt", release="5.0")


FAMILIES = {
    "YOLOv8": ["model.0.conv.weight", "model.22.cv2.0.0.conv.weight", "model.22.dfl.conv.weight"],
    "YOLOv10": ["model.0.conv.weight", "model.23.one2one_cv2.0.0.conv.weight", "model.23.dfl.conv.weight"],
    "YOLOv3": ["model.0.conv.weight", "model.28.m.0.weight"],
    "YOLOv3 or YOLOv4": ["module_list.0.Conv2d.weight", "module_list.0.BatchNorm2d.weight"],
    "YOLOv4": ["down1.conv1.conv.0.weight", "neek.conv1.conv.0.weight", "head.conv1.conv.0.weight"],
    "YOLOv5-seg": ["model.0.conv.weight", "model.24.m.0.weight", "model.24.proto.cv1.conv.weight"],
    "YOLOv5-cls": ["model.0.conv.weight", "model.9.conv.conv.weight", "model.9.linear.weight"],
    "P6": ["model.0.conv.weight", "model.33.m.3.weight"],
    "YOLOv6": ["backbone.stem.block.conv.weight", "backbone.ERBlock_2.0.rbr_dense.conv.weight"],
    "YOLOv7": ["model.0.conv.weight", "model.105.m.0.weight", "model.105.ia.0.implicit"],
    "YOLOX": ["backbone.backbone.stem.conv.conv.weight", "backbone.backbone.dark2.0.conv.weight"],
    "PP-YOLOE": ["backbone.stem.0.conv.weight", "head.pred_cls.0.weight"],
    "RT-DETR": ["model.0.stem1.conv.weight", "model.28.decoder.layers.0.self_attn.in_proj_weight"],
    "MMDetection": ["backbone.stem.conv.conv.weight", "bbox_head.head_module.convs_pred.0.weight"],
    "BottleneckCSP": ["model.0.conv.conv.weight", "model.2.cv4.conv.weight"],
    "a network whose batch norms were fused": ["model.0.conv.weight", "model.0.conv.bias"],
    "Faster R-CNN": ["backbone.body.conv1.weight", "rpn.head.conv.0.0.weight"],
    "SSD": ["backbone.features.0.0.0.0.weight", "head.classification_head.module_list.0.0.0.weight"],
    "a classification network": ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_networks_are_called_by_their_name(tmp_path: Path, family: str):
    torch.save({name: torch.zeros(4, 3, 1, 1) for name in FAMILIES[family]}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=rf"a\.pt' cannot be used as a YOLOv5 detector: it looks like .*{family}"):
        read_yolov5(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("family", "kind"), [("YOLOv8", "Ultralytics"), ("YOLOv10", "Ultralytics"), ("PP-YOLOE", "PPYOLOE")]
)
def test_what_detection_takes_in_a_wrapper_is_told_by_it(tmp_path: Path, family: str, kind: str):
    assert hasattr(fl.tasks, f"{kind}Maps")
    assert hasattr(fl.tasks, f"{kind}Head")
    torch.save({name: torch.zeros(4, 3, 1, 1) for name in FAMILIES[family]}, tmp_path / "a.pt")
    with pytest.raises(
        ValueError, match=rf"fl\.tasks\.{kind}Maps\(\.\.\.\) and .* head=fl\.tasks\.{kind}Head\.of\(model\)"
    ):
        fl.models.yolov5(weights=tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["yolov5n-trees", "yolov5s-coco"])
def test_a_network_by_name_is_no_file_of_weights(name: str):
    with pytest.raises(
        FileNotFoundError, match=rf"no file '.*{name}'; the network of that name: fl\.models\.load\('{name}'\)"
    ):
        fl.models.yolov5(weights=name)


def test_torchvisions_classifiers_are_called_so(tmp_path: Path):
    from torchvision import models

    for make in (models.resnet18, models.mobilenet_v3_small, models.squeezenet1_0, models.vit_b_16, models.swin_t):
        with torch.device("meta"):
            names = list(make().state_dict())
        torch.save({name: torch.zeros(1) for name in names}, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="it looks like a classification network; only detectors"):
            read_yolov5(tmp_path / "a.pt")


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path):
    model = fl.models.yolov5("n", classes=NAMES)
    CALLED.clear()
    torch.save({"model": Call(noted, "x")}, tmp_path / "a.pt")
    torch.save(official(model, Call(noted, "x")), tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"it is an object of tests\.noted\.noted; expected a torch module"):
        read_yolov5(tmp_path / "a.pt")
    with pytest.raises(ValueError, match="its class names are not a list of text"):
        read_yolov5(tmp_path / "b.pt")
    assert not CALLED


@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (lambda model: nn.DataParallel(model), NAMES),
        (lambda model: {"model": nn.Sequential(OrderedDict(model=nn.Sequential(OrderedDict(model=model))))}, NAMES),
        (lambda model: {f"module.{name}": tensor for name, tensor in model.state_dict().items()}, ["0", "1"]),
        (lambda model: {"model": None, "ema": model}, NAMES),
        (lambda model: {"model": None, "ema": (model, 27)}, NAMES),
        (lambda model: {"model": model, "ema": None, "optimizer": None}, NAMES),
        (lambda model: {"epoch": 3, "model": model, "optimizer": adam(model), "opt": argparse.Namespace(a=1)}, NAMES),
        (lambda model: {"state_dict": model.state_dict(), "epoch": 1}, ["0", "1"]),
        (lambda model: {"model_state_dict": model.state_dict()}, ["0", "1"]),
    ],
    ids=[
        "parallel",
        "wrapped twice",
        "parallel state",
        "average only",
        "average with a count",
        "stripped",
        "unstripped",
        "state",
        "model state",
    ],
)
def test_wrapped_networks_are_found(tmp_path: Path, wrap: Callable[[YOLOv5], object], names: list[str]):
    model = busy(fl.models.yolov5("n", classes=NAMES))
    torch.save(wrap(model), tmp_path / "a.pt")
    loaded = fl.models.yolov5(weights=tmp_path / "a.pt")
    assert list(loaded.names) == names
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def adam(model: nn.Module) -> dict[str, object]:
    optimizer = torch.optim.Adam(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    return optimizer.state_dict()


def test_other_anchors_are_kept(tmp_path: Path):
    model = busy(fl.models.yolov5("n", classes=NAMES))
    model.model[-1].anchors.copy_(torch.arange(18.0).view(3, 3, 2) / 4 + 1)
    torch.save(official(model), tmp_path / "a.pt")
    assert fl.models.yolov5(weights=tmp_path / "a.pt").anchors[2, 2].tolist() == [32 * 5.0, 32 * 5.25]


def test_a_truncated_file_is_told(tmp_path: Path):
    torch.save(fl.models.yolov5("n", width=0.25).state_dict(), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_yolov5(tmp_path / "half.pt")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_yolov5(tmp_path / "none.pt")


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return fl.models.yolov5("n", classes=NAMES).state_dict()


def damaged(tensors: dict[str, Tensor], kind: str) -> object:
    state = dict(tensors)
    if kind == "first half":
        return dict(list(state.items())[: len(state) // 2])
    if kind == "last half":
        return dict(list(state.items())[len(state) // 2 :])
    if kind == "some missing":
        return {name: t for name, t in state.items() if not name.startswith("model.13.")}
    if kind == "one more":
        return state | {"model.25.weight": torch.zeros(1)}
    if kind == "pruned":
        return state | {"model.13.cv1.conv.weight": torch.zeros(60, 256, 1, 1)}
    if kind == "width":
        return state | {"model.1.conv.weight": torch.zeros(40, 16, 3, 3)}
    if kind == "head":
        return state | {"model.24.m.0.weight": torch.zeros(20, 64, 1, 1)}
    if kind == "flat":
        return state | {"model.1.conv.weight": torch.zeros(40)}
    if kind == "repeated":
        return state | {"model.24.m.0.weight": torch.zeros(1, 64, 1, 1).expand(21, 64, 1, 1)}
    if kind == "not numbers":
        return state | {"model.3.conv.weight": torch.full_like(state["model.3.conv.weight"], math.nan)}
    if kind == "overflow":
        return state | {"model.3.bn.running_var": torch.full((64,), 1e5).half()}
    if kind == "quantised":
        return state | {"model.3.conv.weight": state["model.3.conv.weight"].to(torch.int8)}
    if kind == "nothing":
        return {}
    return {"optimizer": {}, "model": None}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("first half", r"it lacks 'model\.24\.m\.0\.weight'; it has 174 tensors, of the modules model\.0 to model\.8,"),
        ("last half", r"it lacks 'model\.0\.conv\.weight'"),
        ("some missing", r"it looks like YOLOv5n of release 6\.x with 2 classes, but lacks 'model\.13\.cv1.* in all\)"),
        ("one more", r"and has 'model\.25\.weight' that the network does not know"),
        ("pruned", r"'model\.13\.cv1\.conv\.weight' has \(60, 256, 1, 1\), expected \(64, 256, 1, 1\)\. Was it pruned"),
        ("width", r"'model\.1' has 40 channels and 'model\.6' 3 bottlenecks, as no size .*\(n 32 and 3, s 64 and 3, "),
        ("head", r"its head has 20 rows .* expected 3 \* \(5 \+ classes\) rows"),
        ("flat", r"'model\.1\.conv\.weight' has shape \(40,\); expected 4 dimensions"),
        ("repeated", r"'model\.24\.m\.0\.weight' has shape \(21, 64, 1, 1\), but the file holds 64 numbers of it"),
        ("not numbers", r"'model\.3\.conv\.weight' has 18432 of 18432 numbers that are infinite or none \(NaN\)"),
        ("overflow", r"'model\.3\.bn\.running_var' has 64 of 64 numbers that are infinite .* half precision"),
        ("quantised", r"'model\.3\.conv\.weight' is of type torch\.int8; expected torch\.float32"),
        ("nothing", "its tensors are none; expected 'model"),
        ("no model", r"it is a dict with keys \['optimizer', 'model'\]; expected a torch module, or a dict of tensors"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_told(tmp_path: Path, tensors: dict[str, Tensor], kind: str, message: str):
    torch.save(damaged(tensors, kind), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message):
        read_yolov5(tmp_path / "a.pt")


def test_another_activation_and_a_wrong_number_of_names_are_told(tmp_path: Path):
    model = fl.models.yolov5("n", classes=NAMES)
    torch.save(official(model, ["tree"]), tmp_path / "a.pt")
    with pytest.raises(ValueError, match="1 names for 2 classes"):
        read_yolov5(tmp_path / "a.pt")
    nested: list = ["x"]
    for _ in range(4):
        nested = [nested, nested]  # with more of them the text of it would fill the memory: the error has none of it
    torch.save(official(model, nested), tmp_path / "a.pt")
    with pytest.raises(ValueError, match="its class names are not a list of text$"):
        read_yolov5(tmp_path / "a.pt")
    model.model[3].act = nn.LeakyReLU()
    torch.save(official(model), tmp_path / "b.pt")
    with pytest.raises(ValueError, match="its activation is LeakyReLU, SiLU; only networks with SiLU"):
        read_yolov5(tmp_path / "b.pt")

"""A network that is not the one of the task is told of before it is run."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.models.boxes import Decoded
from fpgmlab.tasks import Detection, YOLOv5Head
from fpgmlab.tasks.detection.pictures import Box, BoxedPictures, Picture
from tests.tasks.detection.made import Squares, draw


def detector(*names: str, scale: float = 1.0) -> nn.Module:
    """Return a small YOLOv5 with anchors of another scale."""
    torch.manual_seed(0)
    model = fl.models.yolov5("n", classes=names or 2, width=0.25)
    model.model[-1].anchors.mul_(scale)
    return model.eval()


@pytest.fixture
def task() -> Detection:
    return Detection(Squares(), Squares(4, seed=1), size=64, augment=None)  # of red and green


def swept(model: nn.Module, task: Detection, **options: object) -> fl.Curves:
    graph = fl.trace(model, task.example_input)
    return fl.sweep(graph, fl.score(graph, "l2"), task, ratios=[0.5], max_samples=1, progress=False, **options)


def halved(model: nn.Module, task: Detection) -> nn.Module:
    graph = fl.trace(model, task.example_input)
    return fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.5, multiple=1))


USES = {
    "evaluate": fl.evaluate,
    "fit": lambda model, task: fl.fit(model, task, progress=False),
    "sweep": swept,
    "pruned": lambda model, task: fl.evaluate(halved(model, task), task),
    "parallel": lambda model, task: fl.evaluate(nn.DataParallel(model), task),
    "decoded": lambda model, task: fl.evaluate(Decoded(model), task),
    "gradually": lambda model, task: fl.prune_gradually(model, task, target=0.5, progress=False),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_anchors_of_its_own_need_the_networks_head(task: Detection, use: Callable):
    said = r"anchors are \(6 x 7\.8, .* those of the task's head \(10 x 13, .*head=fl\.tasks\.YOLOv5Head\.of\(model\)"
    with pytest.raises(ValueError, match=said):
        use(detector(scale=0.6), task)


def test_with_its_own_head_a_network_is_judged(task: Detection):
    model = detector(scale=0.6)
    own = replace(task, head=YOLOv5Head.of(model), metrics={})
    assert fl.evaluate(model, own)["samples"] == fl.evaluate(halved(model, own), own)["samples"] == 4
    with pytest.raises(ValueError, match=r"YOLOv5Head\.of\(model\)"):
        fl.evaluate(detector(), own)


def test_half_precision_rounds_anchors(task: Detection):
    model = detector(scale=0.61)
    own = replace(task, head=YOLOv5Head.of(model), metrics={})
    for dtype in (torch.float16, torch.bfloat16):
        rounded = copy.deepcopy(model).to(dtype)
        assert rounded.anchors.float().tolist() != model.anchors.tolist()
        own.check_network(rounded)


LABELLED = {name: use for name, use in USES.items() if name != "sweep"}


@pytest.mark.parametrize("use", LABELLED.values(), ids=LABELLED)
def test_the_same_classes_in_another_order_are_told(task: Detection, use: Callable):
    said = "network's classes are 'green', 'red', the task's 'red', 'green', in another order.*"
    with pytest.raises(ValueError, match=said + re.escape("fl.models.yolov5(weights=..., classes=['red', 'green'])")):
        use(detector("green", "red"), task)


def test_one_class_in_another_place_is_enough(task: Detection):
    with pytest.raises(ValueError, match="in another order: 'red' would be taken"):
        fl.evaluate(detector("blue", "Red"), task)


def test_a_sweep_by_agreement_asks_for_no_order(task: Detection):
    with pytest.warns(RuntimeWarning, match="no answer that counts"):  # the network is untrained
        assert swept(detector("green", "red"), task).complete
    with pytest.raises(ValueError, match="in another order"):
        swept(detector("green", "red"), task, metrics=["map50"])


def test_other_names_are_told_of_once(task: Detection):
    model = detector("tree", "shrub")
    with pytest.warns(UserWarning, match="'tree', 'shrub', the task's 'red', 'green': taken for the same") as told:
        fl.evaluate(model, task)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.evaluate(model, task)


@pytest.mark.parametrize("use", ["evaluate", "fit", "sweep", "agreement"])
def test_pictures_without_objects_say_nothing_of_a_network(tmp_path: Path, use: str):
    files = [draw(tmp_path / f"{number}.png", (64, 64)) for number in range(4)]
    box = Box(0, (4.0, 4.0, 30.0, 30.0), "here")
    crowd = Box(0, (4.0, 4.0, 30.0, 30.0), "here", crowd=True)
    labelled = BoxedPictures([Picture(file, (64, 64), (box,)) for file in files[:2]], ["red", "green"], "labelled")
    bare = BoxedPictures([Picture(file, (64, 64), (crowd,)) for file in files[2:]], ["red", "green"], "bare")
    task, model = Detection(labelled, bare, size=64, augment=None), detector("red", "green")
    if use == "agreement":  # needs no labels
        with pytest.warns(RuntimeWarning, match="no answer that counts"):
            swept(model, task)
        return
    options = {"metrics": ["map50"]} if use == "sweep" else {}
    with pytest.warns(UserWarning, match="detection: the 2 pictures to validate with have no labelled object") as told:
        USES[use](model, task, **options)
    assert sum("labelled object" in str(each.message) for each in told) == 1
    assert {each.filename for each in told if "labelled object" in str(each.message)} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fl.evaluate(model, task)["map50"] == 0  # it was said
        fl.evaluate(model, Detection(bare, labelled, size=64))


@pytest.mark.parametrize("names", [("red", "green"), (" Red", "GREEN"), ("0", "1"), ()])
def test_the_same_names_and_none_pass(task: Detection, names: tuple[str, ...]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.check_network(detector(*names))
        task.check_network(nn.Conv2d(3, 4, 1))  # says nothing of itself


OTHERS = {
    "evaluate": fl.evaluate,
    "fit": lambda model, task: fl.fit(model, task, progress=False),
    "fit, judged at the end": lambda model, task: fl.fit(model, task, keep="last", progress=False),
    "recalibrate": fl.recalibrate,
    "sweep": lambda model, task: fl.sweep(
        graph := fl.trace(model, EXAMPLES[type(model).__name__]), fl.score(graph, "l2"), task, progress=False
    ),
}
EXAMPLES = {"YOLOv5": torch.zeros(1, 3, 64, 64), "ResNet": torch.zeros(1, 1, 28, 28)}


@pytest.mark.parametrize("use", OTHERS.values(), ids=OTHERS)
def test_a_classifier_of_other_pictures_is_no_detector(task: Detection, use: Callable):
    said = (
        r"ResNet does not run on the inputs of the task 'detection', \[\(\d, 3, 64, 64\)\]: .*Give a network that takes"
    )
    with pytest.raises(ValueError, match=said):
        use(fl.models.resnet20(classes=2, channels=1, width=0.25), task)


@pytest.mark.parametrize("use", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("size", [28, 64])
def test_a_detector_is_no_classifier(size: int, use: Callable):
    data = torch.utils.data.TensorDataset(torch.rand(4, 3, size, size), torch.tensor([0, 1, 0, 1]))
    task = fl.tasks.Classification(data, data, classes=2, name="pets")
    if size == 64 and use is fl.recalibrate:  # which asks for inputs alone
        return
    said = {28: r"YOLOv5 does not run on the inputs of the task 'pets', \[\(\d, 3, 28, 28\)\]", 64: ""}[size]
    said = said or r"logits \(batch, 2\).*got a tuple of 3. If it is a detector|cannot give the metric"
    with pytest.raises(ValueError, match=said):
        use(detector(), task)


def test_another_number_of_classes_is_told_before_anything_is_read(task: Detection, monkeypatch: pytest.MonkeyPatch):
    def never(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(Squares, "__getitem__", never)
    with pytest.raises(
        ValueError, match=r"the network has 3 classes, the task 2: load it .*classes=\['red', 'green'\]"
    ):
        fl.fit(detector("a", "b", "c"), task, progress=False)

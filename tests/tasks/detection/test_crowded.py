"""Pictures that hold more objects than can count are told of, once."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from torch import Tensor
from torch.utils.data import Subset

import fpgmlab as fl
from fpgmlab.tasks import Detection
from fpgmlab.tasks.detection.pictures import Box, BoxedPictures, Picture
from tests.tasks.detection.test_pictures import draw
from tests.tasks.detection.test_task import Squares


def boxed(folder: Path, *counts: dict[int, int], crowds: int = 0) -> BoxedPictures:
    """Return pictures 0.png, 1.png, ... with so many boxes of each class, and regions of crowds besides."""
    pictures = []
    for i, by_class in enumerate(counts):
        labels = [(label, False) for label, count in by_class.items() for _ in range(count)] + [(0, True)] * crowds
        boxes = [Box(label, (0, 0, 1 + n / 50, 9), "here", crowd) for n, (label, crowd) in enumerate(labels)]
        pictures.append(Picture(draw(folder / f"{i}.png"), (40, 30), tuple(boxes)))
    return BoxedPictures(pictures, ["a", "b", "c", "d"], "here")


def task(data: object, **options: object) -> Detection:
    return Detection(data, data, size=64, augment=None, **options)


def test_a_crowded_picture_is_named_at_once(tmp_path: Path):
    data = boxed(tmp_path, {0: 100}, {1: 120, 0: 3}, {2: 301}, {0: 101})
    said = (
        r"trees: '.*2\.png' holds 301 objects of class 'c', more than can count: only the surest 100 detections of a "
        r"class in a picture do, 300 of all\. Pass detections=301 or more to the task\.$"
    )
    with pytest.warns(UserWarning, match=said) as caught:
        crowded = task(data, name="trees")
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
    assert len(list(crowded.val_batches(2))) == 2  # it has been told; warnings are errors
    with pytest.warns(
        UserWarning, match=r"2\.png' holds 301 objects .* 300 detections of a class in a picture do, 900 of"
    ):
        task(data, detections=300)
    task(data, detections=301)


def test_what_can_count_is_not_told_of(tmp_path: Path):
    task(boxed(tmp_path, {0: 100, 1: 100, 2: 100}, {3: 0}, crowds=200))


def test_all_classes_together_can_be_too_many(tmp_path: Path):
    data = boxed(tmp_path, {label: 80 for label in range(4)})
    with pytest.warns(UserWarning, match=r"holds 320 objects of all classes, .* Pass detections=107 or more"):
        task(data)
    task(data, detections=107)  # three times as many of all


def test_only_pictures_that_are_drawn_count(tmp_path: Path):
    data = boxed(tmp_path, {0: 1}, {0: 101}, {0: 1})
    with pytest.warns(UserWarning, match=r"1\.png'"):
        whole = task(data)
    parts = []
    for seed in range(4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            part = whole.subset(val=2, seed=seed).val
        crowded = ["1.png' holds 101" in str(warning.message) for warning in caught]
        assert sum(crowded) == (1 in part.indices)
        parts.append(1 in part.indices)
    assert set(parts) == {True, False}
    with pytest.warns(UserWarning, match=r"1\.png'|are trained on as well"):
        assert whole.subset(train=1).detections == 100


class Silent(Squares):
    """Its labels are known only once a picture is read; the third has 150 boxes."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, box, label = self.items[index]
        count = 150 if index == 2 else 1
        return image, box.repeat(count, 1), label.repeat(count)


def test_where_labels_are_not_known_it_is_told_when_they_are_read():
    silent = task(Silent(6))
    batches = silent.val_batches(2)
    next(batches)
    with pytest.warns(UserWarning, match=r"picture 2 holds 150 objects of class 'red', .* Pass detections=150 or more"):
        next(batches)
    assert len(list(silent.val_batches(2))) == 3  # it has been told
    assert len(list(silent.train_batches(2))) == 3  # training uses them all
    assert len(list(task(Silent(6), detections=150).val_batches(2))) == 3


def test_a_task_hands_its_number_on(tmp_path: Path):
    more = fl.tasks.trees(detections=250)
    for metric in (more.metric(), *(make() for make in more.metrics.values()), more.subset(val=3).metric()):
        assert metric.detections == 250
    assert fl.tasks.trees().metric().detections == 100
    with pytest.raises(ValueError, match="detections must be a whole number of at least 1; got 0"):
        task(Squares(), detections=0)


def test_objects_of_each_class_are_counted_without_crowds(tmp_path: Path):
    data = boxed(tmp_path, {0: 3, 2: 1}, {2: 4}, {}, crowds=5)
    with pytest.warns(UserWarning, match="pictures to (validate|test) with are trained on"):
        task = Detection(data, Subset(data, [1]), classes=list("abcd"), test=Subset(data, [0, 2]), size=64)
    told = task.counts()
    assert told.to_dict("list") == {"train": [3, 0, 5, 0], "val": [0, 0, 4, 0], "test": [3, 0, 1, 0]}
    assert list(told.index) == ["a", "b", "c", "d"]


def test_objects_of_data_sets_that_do_not_tell_are_read():
    data = Squares(6)
    counts = Detection(data, data, classes=data.classes if hasattr(data, "classes") else 2, size=64).counts()
    expected = sum(len(data[i][2]) for i in range(6))
    assert counts["train"].sum() == counts["val"].sum() == expected > 0

"""Examples that are held out: of each class its share, against the best of all ways to share."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

import fpgmlab as fl
from fpgmlab.tasks import Classification, Detection
from fpgmlab.tasks.parting import held_out, mixed, shares, shuffled
from fpgmlab.tasks.sets import told_labels
from tests.tasks.detection.made import yolo_folder

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def of_classes(labels: list[int]) -> TensorDataset:
    return TensorDataset(torch.zeros(len(labels), 1, 4, 4), torch.tensor(labels))


@given(COUNTS, st.data())
@settings(max_examples=150, deadline=None)
def test_shares_are_the_nearest_that_leave_each_class_some(counts: list[int], data: st.DataObject):
    n = data.draw(st.integers(1, sum(counts)))
    found = shares(counts, n)
    ways = [way for way in product(*(range(count + 1) for count in counts)) if sum(way) == n]
    assert tuple(found) in ways
    validated = [way for way in ways if all(held for held, count in zip(way, counts, strict=True) if count > 1)]
    ways = validated or ways
    trained = [way for way in ways if all(held < count for held, count in zip(way, counts, strict=True))]
    ways = trained or ways
    assert tuple(found) in ways

    def apart(way: tuple[int, ...]) -> float:
        return sum((held - n * count / sum(counts)) ** 2 for held, count in zip(way, counts, strict=True))

    assert apart(tuple(found)) == pytest.approx(min(map(apart, ways)))


@given(COUNTS, st.integers(0, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_a_holdout_has_of_each_class_its_share_and_parts_the_examples(
    counts: list[int], seed: int, data: st.DataObject
):
    labels = data.draw(st.permutations([label for label, count in enumerate(counts) for _ in range(count)]))
    n = data.draw(st.integers(1, len(labels)))
    names = [f"class {k}" for k in range(len(counts))]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        held = held_out(labels, n, seed, names, "mine")
        assert held == held_out(labels, n, seed, names, "mine")
    assert held == sorted(set(held))
    assert len(held) == n
    inside = Counter(labels[number] for number in held)
    assert [inside[k] for k in range(len(counts))] == shares(counts, n)
    told = " ".join(str(each.message) for each in said)
    for k, count in enumerate(counts):
        assert (f"class {k} ({count} in all)" in told) == (inside[k] in (0, count))


def test_which_examples_are_held_out_depends_on_the_seed():
    task = Classification(of_classes([0, 1] * 50), of_classes([0, 1]), classes=2)
    drawn = {tuple(task.holdout(20, seed).val.indices) for seed in range(5)}
    assert len(drawn) == 5
    assert all(sum(number % 2 for number in each) == 10 for each in drawn)


def test_a_holdout_names_the_classes_that_it_cannot_share():
    labels = [0] * 6 + [1] * 3 + [2]
    task = Classification(of_classes(labels), of_classes([0]), classes=("ant", "bee", "cow"), name="farm")
    with pytest.warns(UserWarning, match=r"farm: with 2 of 10 .* 1 of 3 classes have none to validate, .*: cow \(1 in"):
        parted = task.holdout(2)
    assert parted.counts().to_dict("list") == {"train": [5, 2, 1], "val": [1, 1, 0], "test": [1, 0, 0]}
    with pytest.warns(UserWarning, match=r"with 1 of 10 .* 2 of 3 classes .*: bee \(3 in all\), cow \(1 in all\)"):
        task.holdout(1)
    with pytest.warns(UserWarning, match=r"2 of 3 classes have none to train on, so they cannot be .*: bee .*, cow"):
        task.holdout(9)


class Counted(Dataset):
    """Pictures that count how many were read, and do not tell their labels."""

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.read += 1
        return torch.zeros(1, 4, 4), index % 2


def test_labels_are_taken_where_they_are_told_and_nothing_is_read_for_them():
    own = Counted()
    joined = ConcatDataset([of_classes([0, 1]), Subset(of_classes([2, 1, 0]), [2, 0])])
    assert told_labels(joined) == [0, 1, 0, 2]
    assert told_labels(ConcatDataset([joined, own])) is None
    parted = Classification(own, of_classes([0, 1]), classes=2).holdout(4, seed=3)
    assert own.read == 0
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    assert parted.val.indices == sorted(order[:4].tolist())


def test_a_detector_hears_of_classes_without_pictures(tmp_path):
    box = "{} 0.5 0.5 0.5 0.2"
    path = yolo_folder(tmp_path, {f"{i}": box.format(int(i == 0)) for i in range(6)})
    data = fl.tasks.yolo_boxes(path, "train", progress=False)
    val = fl.tasks.yolo_boxes(yolo_folder(tmp_path / "other", {"6": box.format(0)}), "train", progress=False)
    said = r"with 2 of 6 examples held out, 1 of 2 classes have none to (validate|train on), .*: dog \(1 in all\)"
    with pytest.warns(UserWarning, match=said):
        Detection(data, val, size=64, name="pets").holdout(2)


def test_pictures_by_class_are_judged_in_a_mixed_order(tmp_path):
    """So that the first so many have some of each class, as a random part would."""
    images = torch.arange(90.0).reshape(90, 1, 1, 1)
    by_class = TensorDataset(images, torch.arange(90) // 30)
    mixed_up = TensorDataset(images, torch.arange(90) % 3)
    task = fl.tasks.Classification(mixed_up, by_class, test=mixed_up, classes=3)

    def read(batches) -> list[int]:
        return [int(each) for images, _ in batches for each in images.flatten()]

    whole = read(task.val_batches(32))
    assert sorted(whole) == list(range(90))
    assert read(task.val_batches(7, 20)) == whole[:20]
    assert all(4 <= count <= 9 for count in Counter(number // 30 for number in whole[:20]).values())
    assert read(task.test_batches(32)) == list(range(90)), "in the order of the data, where classes are mixed"
    for split in (fl.tasks.Classification(by_class, mixed_up, classes=3).holdout(30), task.subset(val=45)):
        labels = torch.cat([labels for _, labels in split.val_batches(8, 12)])
        assert set(labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("labels", [None, [], [0], [0, 1, 2], [0, 0, 1, 1], [0, 1] * 20, [1] * 9])
def test_other_orders_stay(labels: list[int] | None):
    assert mixed(labels) is None


@given(st.lists(st.integers(2, 60), min_size=2, max_size=8), st.integers(0, 9))
def test_random_orders_stay_and_sorted_ones_are_mixed(counts: list[int], seed: int):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    if len(labels) > 40:
        assert mixed([labels[number] for number in shuffled(len(labels), seed)]) is None
    order = mixed(labels)
    assert order is None or sorted(order) == list(range(len(labels)))

"""Cross-validation: every example is judged once, and shares its group with none that was trained on."""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch

import fpgmlab as fl
from fpgmlab.common.files import data_dir
from fpgmlab.tasks import BoxedPictures, Classification, Detection, folds, tree_groups
from fpgmlab.tasks.detection.pictures import Box, Picture
from tests.conftest import blobs
from tests.tasks.detection.made import draw
from tests.tasks.test_splits import numbered, numbers

GROUPS = ["b", "a", "a", "c", "b", "a", "c", "c", "a"]


def test_each_group_is_judged_by_a_network_of_the_others():
    task = Classification(numbered(6), numbered(3, first=6), classes=3, test=blobs(4))
    parted = folds(task, GROUPS)
    assert list(parted) == ["b", "a", "c"]
    for group, fold in parted.items():
        assert numbers(fold.train) == [n for n, other in enumerate(GROUPS) if other != group]
        assert numbers(fold.val) == [n for n, other in enumerate(GROUPS) if other == group]
        assert fold.test is task.test
    assert sorted(n for fold in parted.values() for n in numbers(fold.val)) == list(range(9))


def test_a_fold_can_be_tested_with_and_choose_by_others():
    fold = folds(Classification(numbered(6), numbered(3, first=6), classes=3), GROUPS)["b"].holdout(3)
    assert numbers(fold.test) == [0, 4]
    assert sorted(n % 3 for n in numbers(fold.val)) == [0, 1, 2]
    assert sorted(numbers(fold.val) + numbers(fold.train)) == [1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (GROUPS[:8], r"one entry for each of 9 examples \(6 to train on, then 3 to validate with\); got 8"),
        ([1] * 9, "at least two different entries, one to train on; got 1"),
    ],
)
def test_groups_that_part_nothing_are_refused(groups: list[object], said: str):
    with pytest.raises(ValueError, match=said):
        folds(Classification(numbered(6), numbered(3), classes=3), groups)


def places() -> list[tuple[str, int, int, int, int]]:
    """Return of each tile its image and the pixels there: left, top, right, bottom."""
    found = []
    for split in ("train", "val"):
        for image in json.loads((data_dir() / "trees" / f"{split}.json").read_text())["images"]:
            left, top = map(int, Path(image["file_name"]).stem.split("_")[-2:])
            found.append((image["source"], left, top, left + image["width"], top + image["height"]))
    return found


@pytest.mark.parametrize(
    ("strips", "sizes"), [(1, [36, 11]), (2, [18, 18, 11]), (3, [12, 12, 12, 11]), (6, [6] * 6 + [11])]
)
def test_no_pixel_of_trees_is_in_two_groups(strips: int, sizes: list[int]):
    groups, tiles = tree_groups(strips), places()
    assert len(tiles) == 47
    assert list(Counter(groups).values()) == sizes
    for (a, first), (b, second) in itertools.combinations(zip(groups, tiles, strict=True), 2):
        if a != b and first[0] == second[0]:
            apart = first[3] <= second[1] or second[3] <= first[1] or first[4] <= second[2] or second[4] <= first[2]
            assert apart
            assert strips > 1, "with one strip no image is in two groups"


def test_trees_are_folded_whole_and_held_out():
    task = fl.tasks.trees(size=64)
    parted = folds(task, tree_groups())
    assert [(len(fold.train), len(fold.val)) for fold in parted.values()] == [(35, 12)] * 3 + [(36, 11)]
    boxes = sum(int((targets[..., 0] >= 0).sum()) for fold in parted.values() for _, targets in fold.val_batches(16))
    assert boxes == 641 + 346
    held = fl.tasks.trees(size=64, holdout=7)
    assert (len(held.train), len(held.val), len(held.test)) == (30, 7, 10)
    for ours, before in zip(held.test_batches(16), task.val_batches(16), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, before, strict=True))
    for strips in (0, 7):
        with pytest.raises(ValueError, match="strips must be"):
            tree_groups(strips)


def test_a_crowded_picture_of_a_fold_or_of_the_test_data_is_named(tmp_path: Path):
    sets = []
    for name, count in (("a", 1), ("b", 101), ("c", 102)):
        boxes = tuple(Box(0, (0, 0, 1 + n / 50, 9), "here") for n in range(count))
        pictures = [Picture(draw(tmp_path / f"{name}{i}.png"), (40, 30), boxes if i else ()) for i in range(2)]
        sets.append(BoxedPictures(pictures, ["tree"], "here"))
    with pytest.warns(UserWarning, match=r"b1\.png' holds 101 objects"):
        task = Detection(sets[0], sets[1], size=64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folds(task, [0, 1, 1, 0])
    assert len(caught) == 1
    assert "b1.png' holds 101 objects" in str(caught[0].message)
    with pytest.warns(UserWarning, match=r"c1\.png' holds 102 objects"):
        Detection(sets[0], sets[0], size=64, test=sets[2])

"""What is said of the stages is so in the numbers, and what speaks against trusting them is said."""

from __future__ import annotations

import pytest

import fpgmlab as fl

GOOD = {"unpruned": 0.9, "as cut": 0.3, "repaired": 0.89, "recovered": 0.895}


def notes(values: dict[str, float], samples: int = 1000) -> list[str]:
    return [line for line in fl.recovery.tell_stages(values, samples).splitlines() if line.startswith("Note: ")]


def test_a_good_way_is_told_in_one_line_with_what_was_lost():
    told = fl.recovery.tell_stages(GOOD, 1000, macs=0.5)
    assert told == (
        "accuracy on 1,000 pictures: unpruned 90.0%, as cut 30.0%, repaired 89.0%, recovered 89.5%; "
        "50% of the MACs gone, 0.50 points lost"
    )
    assert "2.00 points won" in fl.recovery.tell_stages({"unpruned": 0.9, "recovered": 0.92}, 1000)


def test_a_newcomers_detector_is_warned_of_on_every_side():
    """8 and 4 pictures, two classes, 20 epochs: each step ended below the one before."""
    found = notes({"unpruned": 0.169, "pruned": 0.142, "repaired": 0.117, "recovered": 0.075}, 4)
    assert ["unpruned is only 16.9%" in line for line in found] == [True, False, False, False]
    assert "repaired ended 2.5 points below pruned" in found[1]
    assert "recovered ended 4.2 points below repaired" in found[2]
    assert "4 pictures to judge by" in found[3]


def test_the_cut_itself_is_no_fault_nor_what_is_too_small_to_write():
    assert notes(GOOD) == []
    assert notes({"unpruned": 0.9, "as cut": 0.1}) == []
    assert notes({"unpruned": 0.9, "as cut": 0.3, "repaired": 0.8, "recovered": 0.7999}) == []


def test_one_picture_is_one_picture():
    assert fl.recovery.tell_stages({"unpruned": 0.5}, 1).startswith("accuracy on 1 picture: unpruned 50.0%\n")


@pytest.mark.parametrize(
    ("values", "samples", "message"),
    [
        ({}, 10, "must have the unpruned network"),
        ({"unpruned": 93.8}, 10, "'unpruned' must be a share between 0 and 1; got 93.8"),
        ({"unpruned": 0.9}, 0, "samples must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_told_is_refused(values: dict[str, float], samples: int, message: str):
    with pytest.raises(ValueError, match=message):
        fl.recovery.tell_stages(values, samples)

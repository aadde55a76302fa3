"""Inputs come from whatever holds them, as many as asked for, and labels are not looked at."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import fpgmlab as fl
from fpgmlab.common.inputs import all_alike, inputs_of


def numbers(count: int) -> TensorDataset:
    return TensorDataset(torch.arange(count).float().reshape(-1, 1), torch.zeros(count))


def seen(batches: list) -> list[int]:
    return torch.cat(batches).flatten().int().tolist()


def test_of_a_task_the_training_data_in_its_order(task: fl.tasks.Classification):
    found = inputs_of(task, 200, seed=3)
    expected = torch.cat([inputs for inputs, _ in task.train_batches(120, seed=3)])  # two of 240
    assert torch.equal(torch.cat(found), expected[:200])
    assert [len(batch) for batch in found] == [120, 80]


def test_augmented_data_are_gone_through_again_others_are_not(task: fl.tasks.Classification):
    with pytest.warns(UserWarning, match="only 240 of the 300 examples"):
        assert len(torch.cat(inputs_of(task, 300))) == 240
    shifted = fl.tasks.Classification(task.train, task.val, 3, augment=fl.tasks.shift_and_flip(1))
    assert len(torch.cat(inputs_of(shifted, 300))) == 300


@pytest.mark.parametrize("kind", ["data set", "loader", "batches", "inputs alone"])
def test_of_data_sets_loaders_and_lists(kind: str):
    data = {
        "data set": numbers(300),
        "loader": DataLoader(numbers(300), 64),
        "batches": [(torch.arange(300).float().reshape(-1, 1), None)],
        "inputs alone": [torch.arange(300).float().reshape(-1, 1)],
    }[kind]
    found = seen(inputs_of(data, 200, seed=1))
    assert len(set(found)) == 200
    assert (found == list(range(200))) == (kind != "data set")  # of a data set a random part


def test_several_inputs_are_cut_together():
    found = inputs_of([{"x": torch.zeros(8, 2), "y": torch.zeros(8, 3), "flag": True}], 5)
    assert {key: getattr(value, "shape", value) for key, value in found[0].items()} == {
        "x": (5, 2), "y": (5, 3), "flag": True,
    }  # fmt: skip


class NoTraining:
    train, val = (), range(5)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (NoTraining(), TypeError, "got a NoTraining"),
        ([], ValueError, "gave no example"),
        (torch.zeros(3, 2), TypeError, "got a Tensor"),
        ("pictures", TypeError, "got a str"),
    ],
)
def test_what_is_no_source_of_inputs_is_told(data: object, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        inputs_of(data, 4)


def test_validation_data_are_not_taken_in_place_of_missing_training_data():
    class Empty(NoTraining):
        def train_batches(self, batch_size: int, seed: int) -> list:
            return []

    with pytest.raises(ValueError, match="Its validation data are not taken"):
        inputs_of(Empty(), 4)


@pytest.mark.parametrize(
    ("batches", "alike"),
    [
        ([torch.ones(3, 2), torch.ones(1, 2)], True),
        ([torch.ones(3, 2), torch.ones(1, 3)], False),
        ([torch.ones(1, 2)], False),  # one is like no other
        ([[torch.ones(1, 2), torch.ones(1, 3)]], False),  # a list with an item for each example
        ([[torch.ones(1, 2), torch.ones(1, 2)]], True),
        ([{"x": torch.ones(2, 2), "y": torch.arange(2)}], False),
        ([(torch.ones(2, 2), 3.0)], True),
    ],
)
def test_alike_are_examples_of_which_none_differs(batches: list, alike: bool):
    assert all_alike(batches) == alike
